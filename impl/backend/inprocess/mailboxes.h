// The messages between the ranks of an InProcessWorld: one mailbox a receiving rank, each with its own lock.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "impl/port/lane.h"
#include "impl/port/net.h"

namespace holdfast::backend {

class Mailboxes {
 public:
  Mailboxes(int world_size, std::size_t message_bytes_max);

  Status send(Rank from, Rank to, port::Tag tag, SharedBytes message);
  Result<SharedBytes> receive(Rank to, Rank from, port::Tag tag, port::Deadline deadline);
  void leave(Rank rank);

  int world_size() const { return static_cast<int>(boxes_.size()); }
  std::size_t message_bytes_max() const { return message_bytes_max_; }

 private:
  struct Box {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::pair<Rank, std::uint32_t>, port::Lane> lanes;
    std::vector<bool> gone;  ///< by rank: it will send nothing more
  };
  Box& box(Rank rank) { return *boxes_[static_cast<std::size_t>(rank.value)]; }
  Status check_peer(std::string_view call, Rank self, Rank peer) const;

  std::vector<std::unique_ptr<Box>> boxes_;
  std::size_t message_bytes_max_;
};

class InProcessNet : public port::Net {
 public:
  InProcessNet(Mailboxes& mailboxes, Rank rank) : mailboxes_(mailboxes), rank_(rank) {}

  Rank rank() const override { return rank_; }
  int world_size() const override { return mailboxes_.world_size(); }
  Status send(Rank to, port::Tag tag, SharedBytes message, port::Deadline) override {
    return mailboxes_.send(rank_, to, tag, std::move(message));
  }
  Result<SharedBytes> receive(Rank from, port::Tag tag, port::Deadline deadline) override {
    return mailboxes_.receive(rank_, from, tag, deadline);
  }
  std::size_t max_message_bytes() const override { return mailboxes_.message_bytes_max(); }

 private:
  Mailboxes& mailboxes_;
  Rank rank_;
};

}  // namespace holdfast::backend
