// A process that stops and goes on as if nothing had happened.
#include <gtest/gtest.h>

#include "sim/run.h"
#include "sim/tsan.h"
#include "tests/sim/doors.h"

namespace holdfast::sim {
namespace {

using namespace std::chrono_literals;

constexpr Site call(int rank, std::uint32_t ordinal) { return {{rank}, ordinal}; }

/// Each rank makes the directories "0-0", "0-1", ...; the order in which they come into being.
class Order {
 public:
  RankMain rank_main(int calls) {
    return [this, calls](const port::Env& env, Rank rank) {
      for (int i = 0; i < calls; ++i) {
        must(env.storage.make_directory(fmt::format("{}-{}", rank, i), port::Deadline{port::TimePoint::max()}));
        const tsan::Inside inside;
        told += fmt::format("{}{} ", rank == Rank{0} ? "a" : "b", i);
      }
    };
  }
  std::string told;
};

TEST(Stop, HoldsARankUntilAnotherReachesACall) {
  Order order;
  Disk disk;
  const Scenario scenario{.name = "stop", .world_size = 2, .stops = {{call(0, 1), call(1, 3)}}, .random_latency = false};
  const Trace trace = run(scenario, disk, order.rank_main(4));
  EXPECT_TRUE(trace.all_returned());
  EXPECT_EQ(trace.stops, 1u);
  EXPECT_TRUE(order.told.starts_with("a0 b0 b1 b2 ")) << order.told;
  EXPECT_EQ(order.told.size(), 24u);
}

TEST(Stop, NeedsNoRankThatReachesTheCall) {
  for (const Site until : {call(1, 100), call(0, 3)}) {
    Order order;
    Disk disk;
    const Scenario scenario{.name = "stop", .world_size = 2, .stops = {{call(0, 1), until}}, .random_latency = false};
    const Trace trace = run(scenario, disk, order.rank_main(3));
    EXPECT_TRUE(trace.all_returned());
    EXPECT_EQ(trace.deadlock, "");
    EXPECT_EQ(order.told, "a0 b0 b1 b2 a1 a2 ");
  }
}

TEST(Stop, DoesNotBeginWhereItsEndIsPast) {
  Order order;
  Disk disk;
  // Rank 0 is held until rank 1 makes its last call; the other stop of rank 0 would have ended before.
  const Scenario scenario{
      .name = "stop", .world_size = 2, .stops = {{call(0, 0), call(1, 2)}, {call(0, 1), call(1, 1)}}, .random_latency = false};
  const Trace trace = run(scenario, disk, order.rank_main(3));
  EXPECT_TRUE(trace.all_returned());
  EXPECT_EQ(trace.stops, 1u);
}

TEST(Stop, HoldsEveryTaskOfTheRankAndWhatItHasUnderWay) {
  std::string seen;
  Disk disk;
  // Call 1 of rank 0 is under way in task 0 when task 1 is about to make call 2: neither has an effect before rank 1 has looked.
  const Scenario scenario{.name = "tasks",
                          .world_size = 2,
                          .faults = {{.site = call(0, 1), .kind = FaultKind::delay, .delay = 10ms}},
                          .stops = {{call(0, 2), call(1, 2)}},
                          .random_latency = false};
  const Trace trace = run(scenario, disk, [&](const port::Env& env, Rank rank) {
    const port::Deadline late = env.clock.after(60s);
    if (rank.value == 1) {
      env.clock.sleep_until(env.clock.now() + 50ms);
      seen += fmt::format("{} ", env.storage.list("", late)->size());
      env.clock.sleep_until(env.clock.now() + 1ms);
      seen += fmt::format("{}", env.storage.list("", late)->size());
      return;
    }
    const auto task = env.tasks.spawn("makes", [&] { must(env.storage.make_directory("held", late)); });
    must(env.storage.make_directory("under way", late));
    must(env.tasks.join(*task, late));
  });
  EXPECT_TRUE(trace.all_returned());
  EXPECT_EQ(trace.stops, 1u);
  EXPECT_EQ(seen, "0 2");
}

TEST(Stop, LetsAKillThrough) {
  Disk disk;
  const Scenario scenario{.name = "killed",
                          .world_size = 2,
                          .faults = {{.site = call(1, 1), .kind = FaultKind::power_loss}},
                          .stops = {{call(0, 0), call(1, 100)}},
                          .random_latency = false};
  Order order;
  const Trace trace = run(scenario, disk, order.rank_main(2));
  EXPECT_EQ(trace.ends[0].how, RankEnd::killed);
  EXPECT_EQ(trace.harness_error, "");
  EXPECT_EQ(order.told, "b0 ");
}

TEST(Stop, IsTheSameForTheSameSeedAndReplays) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Scenario scenario{.name = "same", .world_size = 2, .seed = seed, .stops = {{call(0, 1), call(1, 3)}}};
    std::vector<Trace> traces;
    for (int again = 0; again < 3; ++again) {
      Order order;
      Disk disk;
      traces.push_back(run(scenario, disk, order.rank_main(5)));
      scenario.replay = traces[0].decisions;
    }
    EXPECT_EQ(fingerprint(traces[0]), fingerprint(traces[1]));
    EXPECT_EQ(traces[2].diverged, "");
    EXPECT_EQ(traces[0].event_hash, traces[2].event_hash);
  }
}

}  // namespace
}  // namespace holdfast::sim
