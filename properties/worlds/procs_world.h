// Ranks as processes, messages over TCP on this host, files in a temporary directory.
#pragma once

#include <memory>

#include "properties/worlds/scratch.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

/// Every run forks its ranks from the caller, which must have no other thread, and no rank outlives it. So what the caller has prepared is in each
/// rank, and what a rank writes is lost, but for its result, the marks it reached and the files. A rank that crashes, or still runs when the run
/// has lasted `run_limit` and is killed, is a problem that says how, with the end of what it has printed.
class ProcsWorld : public World {
 public:
  static Result<std::unique_ptr<World>> make(std::chrono::milliseconds run_limit = std::chrono::minutes(3));
  std::string_view name() const override { return "procs"; }
  void reset() override { scratch_->empty(); }
  WorldRun run(int world_size, std::uint64_t seed, const RankMain& rank_main) override;

 private:
  ProcsWorld(std::unique_ptr<Scratch> scratch, std::chrono::milliseconds run_limit) : scratch_(std::move(scratch)), run_limit_(run_limit) {}
  std::unique_ptr<Scratch> scratch_;
  std::chrono::milliseconds run_limit_;
  std::uint64_t runs_ = 0;
};

/// The problem of a rank that was killed by SIGKILL, before the run's limit.
std::string killed(Rank rank);

}  // namespace holdfast::properties
