#include "sim/workload.h"

namespace holdfast::sim {
namespace {

constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) { return (hash ^ value) * 0x9e3779b97f4a7c15u; }

}  // namespace

CaseResult run_case(Workload& workload, const Case& test, const Disk& prepared) {
  CaseResult result;
  Disk disk = prepared;
  workload.begin();
  Scenario scenario = test.scenario;
  scenario.world_size = workload.world_size();
  result.act = run(scenario, disk, [&](const port::Env& env, Rank rank) { workload.act(env, rank); });
  if (test.power_loss_after && !result.act.power_lost) {
    Decisions decisions(scenario.seed ^ 0x5bd1e995u);
    disk.crash(scenario.persistence, decisions);
  }

  Scenario recovery = test.scenario;
  recovery.world_size = workload.recovery_world_size();
  recovery.faults.clear();
  recovery.stops.clear();
  recovery.replay.reset();
  recovery.seed = ~scenario.seed;
  result.recovery = run(recovery, disk, [&](const port::Env& env, Rank rank) { workload.recover(env, rank); });
  result.verdict = workload.judge(result.act, result.recovery, disk);
  result.hash = mix(mix(mix(0, result.act.event_hash), result.recovery.event_hash), disk.hash());
  return result;
}

}  // namespace holdfast::sim
