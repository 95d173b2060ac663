// The door to other ranks: bounded byte messages, point to point.
#pragma once

#include <cstdint>

#include "impl/core/bytes.h"
#include "impl/core/ids.h"
#include "impl/port/clock.h"

namespace holdfast::port {

/// Names one message between two ranks. On a channel, the tags that one rank sends to another rise strictly;
/// receiving a tag drops what that peer sent on the channel with a lower one (it belongs to a round that was given up).
struct Tag {
  std::uint32_t channel = 0;
  std::uint64_t sequence = 0;
  auto operator<=>(const Tag&) const = default;
};

class Net {
 public:
  virtual ~Net() = default;
  /// This process. Does not change.
  virtual Rank rank() const = 0;
  virtual int world_size() const = 0;

  /// Hands a message over for delivery. Returns before it arrives; a message to a rank that is gone may be lost silently.
  /// Errors: peer_lost when the connection is known to be gone; timeout; invalid_argument above max_message_bytes() or to oneself.
  virtual Status send(Rank to, Tag tag, SharedBytes message, Deadline deadline) = 0;

  /// Blocks until the message with exactly this tag is here.
  /// Errors: peer_lost when the connection to `from` ended and the message will never come; timeout.
  virtual Result<SharedBytes> receive(Rank from, Tag tag, Deadline deadline) = 0;

  /// Bytes of one message at most; the same on every rank.
  virtual std::size_t max_message_bytes() const = 0;
};

}  // namespace holdfast::port
