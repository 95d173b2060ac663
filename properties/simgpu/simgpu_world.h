// Ranks as fibres of the simulator whose device is our CUDA back end, as nvcc compiled it, and whose data plane is our NCCL back end, on the simulated CUDA
// runtime and NCCL. Control traffic is the simulator's own.
#pragma once

#include "properties/worlds/sim_world.h"
#include "sim/cuda/runtime.h"

namespace holdfast::properties {

class SimGpuWorld : public World, private DeviceFaults {
 public:
  std::string_view name() const override { return "simgpu"; }
  bool device_memory() const override { return true; }
  DeviceFaults* device_faults() override { return this; }
  void reset() override { sim_.reset(); }
  /// Each rank has a device of its own. Findings of the simulated runtime (leaks, races between streams, misuse) are among what it returns.
  WorldRun run(int world_size, std::uint64_t seed, const RankMain& rank_main) override;

 private:
  void arm(Rank rank, DeviceFault fault, std::uint64_t nth) override;
  bool disarm() override;

  SimWorld sim_;
  std::vector<sim::cuda::Context> contexts_;  ///< of the ranks that run
};

}  // namespace holdfast::properties
