#include "properties/worlds/sim_world.h"

#include "properties/worlds/procs_world.h"
#include "properties/worlds/threads_world.h"
#include "sim/run.h"

namespace holdfast::properties {

WorldRun SimWorld::run(int world_size, std::uint64_t seed, const RankMain& rank_main) {
  sim::Scenario scenario;
  scenario.world_size = world_size;
  scenario.seed = seed;
  WorldRun run;
  run.results.resize(static_cast<std::size_t>(world_size));
  const sim::Trace trace = sim::run(
      scenario, disk_, [&](const port::Env& env, Rank rank) { run.results[static_cast<std::size_t>(rank.value)] = rank_main(env, rank); });
  std::vector<std::string>& problems = run.problems;
  problems = trace.misuse;
  if (!trace.harness_error.empty()) problems.push_back(trace.harness_error);
  if (!trace.deadlock.empty()) problems.push_back("deadlock: " + trace.deadlock);
  for (std::size_t r = 0; r < trace.ends.size(); ++r) {
    if (trace.ends[r].how == sim::RankEnd::threw) problems.push_back(fmt::format("rank {}: exception: {}", r, trace.ends[r].what));
  }
  for (const sim::Leak& leak : trace.leaks) problems.push_back(to_string(leak));
  return run;
}

Result<std::unique_ptr<World>> make_world(std::string_view name) {
  if (name == "sim") return std::unique_ptr<World>(std::make_unique<SimWorld>());
  if (name == "threads") return ThreadsWorld::make();
  if (name == "procs") return ProcsWorld::make();
  return fail(ErrorCode::invalid_argument, "world \"{}\": expected sim, threads or procs", name);
}

}  // namespace holdfast::properties
