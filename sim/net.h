// Simulated connections: mailboxes by (receiver, sender, channel), travel time by decision, order kept only within a mailbox.
#pragma once

#include <boost/container/flat_map.hpp>
#include <deque>
#include <vector>

#include "impl/port/net.h"
#include "sim/kernel.h"

namespace holdfast::sim {

/// What the ranks' Net doors share. Knows who is gone, and from when on a peer can know it.
class Network final : public Kernel::Listener {
 public:
  explicit Network(Kernel& kernel);

  void rank_gone(RankState& rank) override;
  /// When `observer` learns that `peer` is gone; `never` while it is not. The first question decides the delay.
  Nanoseconds loss_known_at(Rank observer, Rank peer);

 private:
  friend class Net;
  struct Message {
    std::uint64_t sequence = 0;
    SharedBytes bytes;
    Nanoseconds arrival = 0;
  };
  struct Mailbox {
    Rank from;
    std::vector<Message> messages;  // from `head` on, sequence and arrival rising
    std::size_t head = 0;
    std::uint64_t last_sequence = 0;
    bool used = false;
    std::vector<Fiber*> waiting;
  };
  using Key = std::uint64_t;  // sender << 32 | channel

  Mailbox& mailbox(Rank to, Rank from, std::uint32_t channel);
  static void wake_all(Kernel& kernel, Mailbox& box);

  Kernel& kernel_;
  std::vector<boost::container::flat_map<Key, std::uint32_t>> boxes_of_;  // by receiver
  std::deque<Mailbox> boxes_;
  std::vector<Nanoseconds> gone_at_;
  boost::container::flat_map<Key, Nanoseconds> loss_known_;  // observer << 32 | peer
};

class Net final : public port::Net {
 public:
  Net(Kernel& kernel, Network& network, RankState& rank) : kernel_(kernel), network_(network), rank_(rank) {}

  Rank rank() const override { return rank_.rank; }
  int world_size() const override { return kernel_.scenario().world_size; }
  Status send(Rank to, port::Tag tag, SharedBytes message, port::Deadline deadline) override;
  Result<SharedBytes> receive(Rank from, port::Tag tag, port::Deadline deadline) override;
  std::size_t max_message_bytes() const override { return std::size_t{16} << 20; }

 private:
  Status post(Rank to, port::Tag tag, const SharedBytes& message);
  Result<SharedBytes> await(Rank from, port::Tag tag, Nanoseconds last, const CallInfo& info);

  Kernel& kernel_;
  Network& network_;
  RankState& rank_;
};

}  // namespace holdfast::sim
