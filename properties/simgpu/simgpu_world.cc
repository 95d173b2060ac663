#include "properties/simgpu/simgpu_world.h"

#include <fmt/format.h>

#include "impl/core/check.h"
#include "properties/simgpu/rank_doors.h"
#include "sim/cuda/runtime.h"

namespace holdfast::properties {
namespace {

namespace cuda = sim::cuda;

Bytes run_rank(const port::Env& env, Rank rank, int devices, cuda::Context& context, const RankMain& rank_main) {
  const auto doors = RankDoors::open(env, rank.value, devices, context);
  CHECK(doors.has_value(), "{}", doors.error());
  Bytes result = rank_main((*doors)->env(), rank);
  const Status closed = (*doors)->close(env.clock.after(std::chrono::seconds(60)));
  if (!closed) cuda::find(fmt::format("rank {}: {}", rank, closed.error()));
  return result;
}

}  // namespace

void SimGpuWorld::arm(Rank rank, DeviceFault fault, std::uint64_t nth) {
  constexpr int out_of_memory = 2;     // cudaErrorMemoryAllocation
  constexpr int ecc = 214;             // cudaErrorECCUncorrectable
  constexpr int launch_failure = 719;  // cudaErrorLaunchFailure
  const cuda::Context* const caller = &contexts_.at(static_cast<std::size_t>(rank.value));
  switch (fault) {
    case DeviceFault::out_of_memory: return cuda::fail_call("", nth, out_of_memory, caller, rank.value);
    case DeviceFault::call_lost: return cuda::fail_call("", nth, ecc, caller, rank.value);
    case DeviceFault::work_lost: return cuda::fail_operation(nth, launch_failure, rank.value);
  }
}

bool SimGpuWorld::disarm() { return cuda::disarm(); }

WorldRun SimGpuWorld::run(int world_size, std::uint64_t seed, const RankMain& rank_main) {
  cuda::reset(seed);
  cuda::set_device_count(world_size);
  cuda::capture_elsewhere();  // a trainer may do so at any time
  contexts_ = std::vector<cuda::Context>(static_cast<std::size_t>(world_size));
  WorldRun run = sim_.run(world_size, seed, [&](const port::Env& env, Rank rank) {
    return run_rank(env, rank, world_size, contexts_[static_cast<std::size_t>(rank.value)], rank_main);
  });
  for (std::string& finding : cuda::report()) run.problems.push_back("simulated CUDA: " + std::move(finding));
  return run;
}

}  // namespace holdfast::properties
