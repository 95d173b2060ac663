// A run is a value: equal decisions make an equal run; what goes wrong in a run is told.
#include "sim/run.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/sim/doors.h"

namespace holdfast::sim {
namespace {

using namespace std::chrono_literals;
constexpr port::Deadline no_deadline{port::TimePoint::max()};

/// Every rank writes a file beside a task of its own, and all report to rank 0.
void small_protocol(const port::Env& env, Rank rank) {
  const port::Deadline deadline = env.clock.after(60s);
  const auto task = env.tasks.spawn("write", [&env, rank] { store(env, fmt::format("f{}", rank), std::string(6000, 'x')); });
  must(env.tasks.join(task.value(), deadline));
  if (rank.value != 0) {
    must(env.net.send({0}, {1, 1}, to_bytes(as_bytes("done")), deadline));
    return;
  }
  for (int peer = 1; peer < env.net.world_size(); ++peer) must(env.net.receive({peer}, {1, 1}, deadline));
  must(env.storage.sync_directory("", deadline));
}

Trace run_small(const Scenario& scenario) {
  Disk disk;
  return run(scenario, disk, small_protocol);
}

TEST(Run, IsTheSameForTheSameSeed) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Scenario scenario{.name = "same", .world_size = 4, .seed = seed};
    const Trace first = run_small(scenario);
    const Trace second = run_small(scenario);
    ASSERT_TRUE(first.all_returned());
    EXPECT_EQ(first.event_hash, second.event_hash);
    EXPECT_EQ(first.decisions, second.decisions);
    EXPECT_EQ(first.virtual_ns, second.virtual_ns);
  }
}

TEST(Run, IsTheSameWhenItsDecisionsAreReplayed) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Trace first = run_small({.name = "seeded", .world_size = 4, .seed = seed});
    const Trace second = run_small({.name = "replayed", .world_size = 4, .seed = 999, .replay = first.decisions});
    EXPECT_EQ(first.event_hash, second.event_hash);
    EXPECT_EQ(second.diverged, "");
  }
}

TEST(Run, DiffersBetweenSeeds) {
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 0; seed < 100; ++seed) hashes.insert(run_small({.name = "seeds", .world_size = 4, .seed = seed}).event_hash);
  EXPECT_EQ(hashes.size(), 100u);
}

TEST(Run, IsNotChangedByItsRecord) {
  Scenario scenario{.name = "observed", .world_size = 4, .seed = 3};
  const Trace bare = run_small(scenario);
  scenario.record_events = true;
  const Trace recorded = run_small(scenario);
  EXPECT_EQ(bare.event_hash, recorded.event_hash);
  EXPECT_TRUE(bare.record.empty());
  ASSERT_EQ(recorded.record.size(), recorded.door_calls);
  ASSERT_EQ(recorded.sites.size(), recorded.door_calls);
  EXPECT_TRUE(std::any_of(recorded.record.begin(), recorded.record.end(), [](const TraceEvent& event) {
    return event.op == "storage.write" && event.object == "\"f2\"" && event.bytes == 6000 && event.task == 1 && event.result == "ok";
  }));
}

TEST(Run, MakesNoDecisionInTurn) {
  const Trace trace = run_small({.name = "in turn", .world_size = 4, .random_latency = false});
  EXPECT_TRUE(trace.all_returned());
  EXPECT_TRUE(trace.decisions.empty());
  EXPECT_EQ(trace.virtual_ns, 0);
}

TEST(Run, StopsWhereAReplayedListDoesNotFit) {
  std::vector<Decision> decisions = run_small({.name = "seeded", .world_size = 4, .seed = 1}).decisions;
  decisions[20].n += 1;
  const Trace trace = run_small({.name = "edited", .world_size = 4, .replay = decisions});
  EXPECT_NE(trace.diverged.find("decision 20"), std::string::npos) << trace.diverged;
  EXPECT_FALSE(trace.all_returned());
}

TEST(Run, GoesOnWithTheMildestChoicesAfterAShortList) {
  std::vector<Decision> decisions = run_small({.name = "seeded", .world_size = 4, .seed = 1}).decisions;
  decisions.resize(10);
  const Trace trace = run_small({.name = "cut", .world_size = 4, .replay = decisions});
  EXPECT_TRUE(trace.all_returned());
  EXPECT_EQ(trace.diverged, "");
}

TEST(Run, SaysWhoWaitsForWhomInADeadlock) {
  Disk disk;
  const Trace trace = run({.name = "deadlock", .world_size = 2, .random_latency = false}, disk, [](const port::Env& env, Rank rank) {
    const Rank peer{1 - rank.value};
    static_cast<void>(env.net.receive(peer, {3, 7}, no_deadline));
  });
  EXPECT_EQ(trace.deadlock,
            "rank 0 task 0 waits for net.receive rank 1 #7 since 0 ns\nrank 1 task 0 waits for net.receive rank 0 #7 since 0 ns\n");
  for (const RankEnd& end : trace.ends) EXPECT_EQ(end.how, RankEnd::deadlocked);
}

TEST(Run, StopsALivelock) {
  Disk disk;
  const Trace trace = run({.name = "livelock", .world_size = 1, .events_max = 10'000}, disk, [](const port::Env& env, Rank) {
    while (true) env.clock.sleep_until(env.clock.now());
  });
  EXPECT_NE(trace.harness_error.find("livelock"), std::string::npos);
  EXPECT_EQ(trace.ends[0].how, RankEnd::killed);
}

TEST(Run, ReportsAnExceptionOfARankOrTask) {
  Disk disk;
  const Trace trace = run({.name = "throws", .world_size = 2}, disk, [](const port::Env& env, Rank rank) {
    if (rank.value == 0) throw std::runtime_error("boom");
    const auto task = env.tasks.spawn("thrower", [] { throw std::logic_error("bang"); });
    must(env.tasks.join(task.value(), env.clock.after(1s)));
  });
  EXPECT_EQ(trace.ends[0].how, RankEnd::threw);
  EXPECT_EQ(trace.ends[0].what, "boom");
  EXPECT_EQ(trace.ends[1].what, "task 1: bang");
}

TEST(Run, KeepsEachRanksOwnExceptionAcrossASuspension) {
  std::vector<int> wrong(50, 0);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Disk disk;
    run({.name = "rethrow", .world_size = 50, .seed = seed}, disk, [&](const port::Env& env, Rank rank) {
      try {
        try {
          throw std::runtime_error(fmt::format("rank {}", rank));
        } catch (const std::exception&) {
          env.clock.sleep_until(env.clock.now() + std::chrono::microseconds(rank.value % 7));
          throw;
        }
      } catch (const std::exception& exception) {
        wrong[static_cast<std::size_t>(rank.value)] += exception.what() != fmt::format("rank {}", rank);
      }
      wrong[static_cast<std::size_t>(rank.value)] += std::uncaught_exceptions();
    });
  }
  EXPECT_EQ(wrong, std::vector<int>(50, 0));
}

TEST(Run, ReportsWhatARankDidNotGiveBack) {
  Disk disk;
  port::Buffer outlives;
  const Trace trace = run({.name = "leaks", .world_size = 2}, disk, [&](const port::Env& env, Rank rank) {
    if (rank.value == 0) return;
    static_cast<void>(env.storage.create("open", env.clock.after(1s)));
    const port::StreamId stream = env.device.create_stream().value();
    static_cast<void>(env.device.record(stream));
    outlives = env.device.allocate_staging(10).value();
    static_cast<void>(env.tasks.spawn("unjoined", [] {}));
    env.tasks.detach(env.tasks.spawn("detached", [] {}).value());
  });
  ASSERT_EQ(trace.leaks.size(), 1u);
  EXPECT_EQ(trace.leaks[0], (Leak{.rank = {1}, .files_open = 1, .streams = 1, .events = 1, .buffers = 1, .tasks_unjoined = 1}));
  EXPECT_EQ(to_string(trace.leaks[0]), "rank 1: 1 files open, 1 streams, 1 events, 1 buffers, 1 tasks unjoined");
}

TEST(Run, CountsMessagesAndBytesOfEachRank) {
  const Trace trace = run_small({.name = "traffic", .world_size = 4});
  EXPECT_EQ(trace.traffic[0], (Traffic{.messages_received = 3, .bytes_received = 12}));
  EXPECT_EQ(trace.traffic[2], (Traffic{.messages_sent = 1, .bytes_sent = 4}));
}

/// A sum up a binary tree and down again.
void tree_sum(const port::Env& env, Rank rank) {
  const port::Deadline deadline = env.clock.after(60s);
  const int n = env.net.world_size();
  std::uint64_t sum = static_cast<std::uint64_t>(rank.value);
  const auto receive = [&](int from) {
    std::uint64_t value = 0;
    std::memcpy(&value, env.net.receive({from}, {1, 1}, deadline).value().view().data(), sizeof(value));
    return value;
  };
  const auto send = [&](int to) {
    Bytes bytes(sizeof(sum));
    std::memcpy(bytes.data(), &sum, sizeof(sum));
    must(env.net.send({to}, {1, 1}, std::move(bytes), deadline));
  };
  const int children[] = {2 * rank.value + 1, 2 * rank.value + 2};
  for (const int child : children) {
    if (child < n) sum += receive(child);
  }
  if (rank.value != 0) {
    send((rank.value - 1) / 2);
    sum = receive((rank.value - 1) / 2);
  }
  for (const int child : children) {
    if (child < n) send(child);
  }
  const auto expected = static_cast<std::uint64_t>(n) * static_cast<std::uint64_t>(n - 1) / 2;
  if (sum != expected) throw std::runtime_error("wrong sum");
}

TEST(Run, TakesAThousandRanks) {
  Disk disk;
  const Trace trace = run({.name = "tree", .world_size = 1000}, disk, tree_sum);  // ThreadSanitizer takes no more fibres
  EXPECT_TRUE(trace.all_returned());
  EXPECT_EQ(trace.traffic[0].messages_received, 2u);
}

#ifndef __SANITIZE_THREAD__
TEST(Run, TakesMoreRanksThanTheKernelHasGuardPagesFor) {
  Disk disk;
  const Trace trace = run({.name = "tree", .world_size = 9000}, disk, tree_sum);
  EXPECT_TRUE(trace.all_returned());
}
#endif

}  // namespace
}  // namespace holdfast::sim
