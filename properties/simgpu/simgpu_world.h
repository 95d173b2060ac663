// Ranks as fibres of the simulator whose device is our CUDA back end, as nvcc compiled it, on the simulated CUDA runtime.
#pragma once

#include "properties/worlds/sim_world.h"

namespace holdfast::properties {

class SimGpuWorld : public World {
 public:
  std::string_view name() const override { return "simgpu"; }
  bool device_memory() const override { return true; }
  void reset() override { sim_.reset(); }
  /// Findings of the simulated runtime (leaks, races between streams, misuse) are among what it returns.
  WorldRun run(int world_size, std::uint64_t seed, const RankMain& rank_main) override;

 private:
  SimWorld sim_;
};

}  // namespace holdfast::properties
