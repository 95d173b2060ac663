// The messages that one rank sent to another on one channel and that were not received yet: the rule of tags (net.h), for back ends.
#pragma once

#include <deque>
#include <optional>

#include "impl/core/bytes.h"

namespace holdfast::port {

/// Not synchronised.
class Lane {
 public:
  /// False, and nothing changes, when the sequence does not rise.
  bool push(std::uint64_t sequence, SharedBytes bytes) {
    if (last_ && sequence <= *last_) return false;
    last_ = sequence;
    messages_.push_back({sequence, std::move(bytes)});
    return true;
  }
  /// Drops the messages with a lower sequence; the one with exactly this, if it is here.
  std::optional<SharedBytes> take(std::uint64_t sequence) {
    while (!messages_.empty() && messages_.front().sequence < sequence) messages_.pop_front();
    if (messages_.empty() || messages_.front().sequence != sequence) return std::nullopt;
    SharedBytes bytes = std::move(messages_.front().bytes);
    messages_.pop_front();
    return bytes;
  }
  /// The sequence pushed last, if any.
  std::optional<std::uint64_t> last() const { return last_; }
  /// Forgets the messages, not which sequence was the last.
  void clear() { messages_.clear(); }

 private:
  struct Message {
    std::uint64_t sequence = 0;
    SharedBytes bytes;
  };
  std::deque<Message> messages_;
  std::optional<std::uint64_t> last_;
};

}  // namespace holdfast::port
