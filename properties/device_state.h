// A rank's tensors moved to device memory, for worlds that have a device.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "impl/port/env.h"
#include "properties/gen/state_spec.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

class DeviceState {
 public:
  /// Copies the memory of every shard to the device, gaps between rows included, and makes the state dict point there. `state` must outlive this.
  /// A device that refuses is a CHECK: this is the test's own preparation. Of `every` memories the first stays on the host; 0: none does.
  DeviceState(gen::RankState& state, const port::Env& env, std::size_t every = 0);
  /// Copies the host memory of the state to the device again.
  void upload();
  /// Copies everything back and makes the state dict point to the host memory again.
  void download();

  // For who has a stream of its own and lets it fall behind. They wait for nothing.
  /// Copies the host memory, as it is now, to the device when the stream comes to it.
  void enqueue_upload(port::StreamId stream);
  /// What the device's memory holds when the stream comes to it, in the order of RankState::memory; there once the stream has run.
  std::vector<port::Buffer> enqueue_reading(port::StreamId stream);

 private:
  struct Moved {
    Bytes* host;
    port::Buffer device;
  };
  struct MovedShard {
    LocalShard* shard;
    std::size_t memory;    ///< number in moved_
    std::byte* host_data;  ///< of the shard's first element
  };
  gen::RankState& state_;
  port::Env env_;
  std::vector<Moved> moved_;
  std::vector<MovedShard> shards_;
};

/// None in a world whose tensors lie in host memory.
inline std::optional<DeviceState> move_to_device(const World& world, gen::RankState& state, const port::Env& env) {
  return world.device_memory() ? std::optional<DeviceState>(std::in_place, state, env) : std::nullopt;
}

}  // namespace holdfast::properties
