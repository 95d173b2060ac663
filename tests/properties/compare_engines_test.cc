// The comparison of the engines sees every kind of difference, and none where there is none.
#include "properties/compare_engines.h"

#include <gtest/gtest.h>

#include "properties/worlds/sim_world.h"
#include "sim/run.h"

namespace holdfast::properties {
namespace {

using sim::EngineKind;

/// Two runs in the world; then what the case under test does, told the engine.
gen::Outcome compared(const std::function<gen::Outcome(SimWorld&, EngineKind)>& check, EnginesCompared& totals) {
  SimWorld world;
  Property property{"some", "D1", "", {"sim"}, [&](World& given, const gen::DrawOptions&) {
                      for (std::uint64_t seed = 0; seed < 2; ++seed)
                        given.run(2, seed, [](const port::Env& env, Rank) {
                          env.clock.now();
                          return Bytes();
                        });
                      return check(static_cast<SimWorld&>(given), sim::default_engine());
                    }};
  return check_on_both_engines(property, world, {}, totals);
}

std::string failure(const std::function<gen::Outcome(SimWorld&, EngineKind)>& check) {
  EnginesCompared totals;
  return compared(check, totals).failure;
}

void sleep_in(SimWorld& world, int ranks, std::chrono::milliseconds time) {
  world.run(ranks, 7, [time](const port::Env& env, Rank) {
    env.clock.sleep_until(env.clock.now() + time);
    return Bytes();
  });
}

TEST(CompareEngines, FindsNothingWhereARunIsTheSame) {
  EnginesCompared totals;
  const gen::Outcome outcome = compared(
      [](SimWorld& world, EngineKind) {
        sleep_in(world, 2, std::chrono::milliseconds(3));
        return gen::Outcome{5, "", ""};
      },
      totals);
  EXPECT_EQ(outcome.failure, "");
  EXPECT_EQ(outcome.cases, 5u);
  EXPECT_EQ(totals.runs, 3u);
  EXPECT_EQ(totals.events, 2u);
  EXPECT_EQ(sim::default_engine(), EngineKind::fiber);
}

TEST(CompareEngines, NamesTheFirstRunThatDiffers) {
  const std::string events = failure([](SimWorld& world, EngineKind engine) {
    sleep_in(world, 3, std::chrono::milliseconds(engine == EngineKind::fiber ? 3 : 4));
    return gen::Outcome{};
  });
  EXPECT_TRUE(events.starts_with("run 2 of the property (3 ranks, seed 7): event hash ")) << events;
  const std::string disk = failure([](SimWorld& world, EngineKind engine) {
    world.disk().write_file("a", as_bytes(to_string(engine)));
    sleep_in(world, 1, std::chrono::milliseconds(3));
    return gen::Outcome{};
  });
  EXPECT_EQ(disk, "run 2 of the property (1 ranks, seed 7): the events are the same on both engines, the disk is not");
}

TEST(CompareEngines, SeesARunTooFewAndAnotherOutcome) {
  const std::string fewer = failure([](SimWorld& world, EngineKind engine) {
    if (engine == EngineKind::fiber) sleep_in(world, 1, std::chrono::milliseconds(3));
    return gen::Outcome{};
  });
  EXPECT_EQ(fewer, "3 runs on fibres, 2 on threads");
  const auto only_on = [](EngineKind bad) {
    return [bad](SimWorld&, EngineKind engine) { return gen::Outcome{0, engine == bad ? "wrong" : "", ""}; };
  };
  EXPECT_EQ(failure(only_on(EngineKind::thread)), "it holds on fibres; on threads: wrong");
  EXPECT_EQ(failure(only_on(EngineKind::fiber)), "wrong");
}

}  // namespace
}  // namespace holdfast::properties
