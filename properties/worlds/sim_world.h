// Ranks as fibres of the deterministic simulator, with random latencies and schedules.
#pragma once

#include "properties/worlds/world.h"
#include "sim/disk.h"

namespace holdfast::properties {

class SimWorld : public World {
 public:
  std::string_view name() const override { return "sim"; }
  void reset() override { disk_ = sim::Disk(); }
  WorldRun run(int world_size, std::uint64_t seed, const RankMain& rank_main) override;
  sim::Disk& disk() { return disk_; }

 private:
  sim::Disk disk_;
};

}  // namespace holdfast::properties
