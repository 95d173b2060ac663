// The simulated doors do what every back end does, under any schedule.
#include <gtest/gtest.h>

#include "sim/run.h"
#include "tests/conformance/device_cases.h"
#include "tests/conformance/group_cases.h"
#include "tests/conformance/storage_cases.h"

namespace holdfast::sim {
namespace {

constexpr std::uint64_t seeds = 50;

const auto name_of = [](const auto& info) { return std::string(info.param.name); };

/// Runs `rank_main` in turn, and then under `seeds` schedules.
void conforms(int world_size, const std::function<Status(const port::Env&, Rank)>& rank_main) {
  for (std::uint64_t seed = 0; seed <= seeds; ++seed) {
    Disk disk;
    const Scenario scenario{.name = "conformance", .world_size = world_size, .seed = seed, .random_latency = seed != seeds};
    const Trace trace = run(scenario, disk, [&](const port::Env& env, Rank rank) {
      const Status held = rank_main(env, rank);
      if (!held) throw std::runtime_error(held.error().message);
    });
    for (const RankEnd& end : trace.ends) ASSERT_EQ(end.how, RankEnd::returned) << "seed " << seed << ": " << end.what;
    for (const Leak& leak : trace.leaks) ADD_FAILURE() << "seed " << seed << ": " << to_string(leak);
    for (const std::string& misuse : trace.misuse) ADD_FAILURE() << "seed " << seed << ": " << misuse;
  }
}

class SimulatedStorageConforms : public testing::TestWithParam<conformance::StorageCase> {};
TEST_P(SimulatedStorageConforms, To) {
  conforms(1, [](const port::Env& env, Rank) { return GetParam().run(env.storage, env.clock); });
}
INSTANTIATE_TEST_SUITE_P(Storage, SimulatedStorageConforms,
                         testing::ValuesIn(conformance::storage_cases().begin(), conformance::storage_cases().end()), name_of);

class SimulatedGroupConforms : public testing::TestWithParam<conformance::GroupCase> {};
TEST_P(SimulatedGroupConforms, To) {
  conforms(GetParam().world_size, [](const port::Env& env, Rank) { return GetParam().rank_main({env.net, env.data, env.clock}); });
}
INSTANTIATE_TEST_SUITE_P(Group, SimulatedGroupConforms,
                         testing::ValuesIn(conformance::group_cases().begin(), conformance::group_cases().end()), name_of);

class SimulatedDeviceConforms : public testing::TestWithParam<conformance::DeviceCase> {};
TEST_P(SimulatedDeviceConforms, To) {
  conforms(1, [](const port::Env& env, Rank) { return GetParam().run(env.device, env.clock); });
}
INSTANTIATE_TEST_SUITE_P(Device, SimulatedDeviceConforms,
                         testing::ValuesIn(conformance::device_cases().begin(), conformance::device_cases().end()), name_of);

}  // namespace
}  // namespace holdfast::sim
