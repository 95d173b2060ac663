// A group of ranks that are threads of one process: one Net and one DataPlane a rank, over shared memory.
#pragma once

#include <memory>

#include "impl/port/data_plane.h"
#include "impl/port/net.h"

namespace holdfast::backend {

struct InProcessOptions {
  std::size_t message_bytes_max = std::size_t{64} << 20;
};

/// Owns the doors it hands out; they may be used from any thread. Deadlines are SteadyClock's. Messages are shared, never copied; nothing
/// is lost, delayed or reordered, and a send never blocks.
///
/// Net: a tag that does not rise is a CHECK. DataPlane: ranks in the same exchange (name and sequence) meet pair by pair; whoever comes
/// last copies. An exchange may include transfers to oneself. A peer that called abort() ends the exchanges that wait for it, `peer_lost`.
class InProcessWorld {
 public:
  explicit InProcessWorld(int world_size, InProcessOptions options = {});
  ~InProcessWorld();
  InProcessWorld(const InProcessWorld&) = delete;
  InProcessWorld& operator=(const InProcessWorld&) = delete;

  int world_size() const;
  port::Net& net(Rank rank);
  port::DataPlane& data(Rank rank);

  /// The rank is gone for good, as if its process had ended. What it sent before is still delivered; then receives from it, and at once
  /// sends to it and exchanges with it, fail with peer_lost. So do all calls of its own. Calling it again changes nothing.
  void leave(Rank rank);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::backend
