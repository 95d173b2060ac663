// Simulated group exchanges: ranks meet by (name, sequence), every pair's transfers are matched and checked, then copied.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "impl/port/data_plane.h"
#include "sim/kernel.h"
#include "sim/net.h"

namespace holdfast::sim {

/// What the ranks' DataPlane doors share.
class Exchanges final : public Kernel::Listener {
 public:
  Exchanges(Kernel& kernel, Network& network) : kernel_(kernel), network_(network) { kernel.add_listener(*this); }
  void rank_gone(RankState& rank) override;

 private:
  friend class DataPlane;
  /// One rank inside an exchange. Lives on that rank's stack.
  struct Party {
    Rank rank;
    Fiber* fiber = nullptr;
    std::vector<port::Transfer> sends;  // by peer, in the caller's order within a peer
    std::vector<port::Transfer> receives;
    std::vector<Rank> missing;  // peers not yet matched, ascending
    bool failed = false;
    std::string failure;
  };
  struct Exchange {
    std::string name;
    std::uint64_t sequence = 0;
    std::vector<Party*> parties;
  };

  Exchange& find(std::string_view name, std::uint64_t sequence);
  void enter(Exchange& exchange, Party& party);
  void leave(Exchange& exchange, Party& party);
  void match(const Exchange& exchange, Party& a, Party& b);
  static std::string mismatch(const Exchange& exchange, const Party& from, const Party& to);
  std::string whereabouts(Rank rank) const;

  Kernel& kernel_;
  Network& network_;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
};

class DataPlane final : public port::DataPlane {
 public:
  DataPlane(Kernel& kernel, Exchanges& exchanges, RankState& rank) : kernel_(kernel), exchanges_(exchanges), rank_(rank) {}
  Status exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline) override;
  void abort() override;

 private:
  Status take_part(const CallInfo& info, Exchanges::Party& party, Nanoseconds last);

  Kernel& kernel_;
  Exchanges& exchanges_;
  RankState& rank_;
  bool aborted_ = false;
};

}  // namespace holdfast::sim
