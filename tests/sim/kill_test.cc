// The death of one rank, and of all.
#include <gtest/gtest.h>

#include <set>

#include "sim/run.h"
#include "tests/sim/doors.h"

namespace holdfast::sim {
namespace {

using namespace std::chrono_literals;

/// Rank 0 writes and commits, with a task beside it; the others wait for its word.
void commit(const port::Env& env, Rank rank) {
  const port::Deadline deadline = env.clock.after(10s);
  if (rank.value != 0) {
    static_cast<void>(env.net.receive({0}, {1, 1}, deadline));
    return;
  }
  auto data = port::Future<int>::run(env.tasks, "data", [&env]() -> Result<int> {
    TRY(try_store(env, "data", "data"));
    return 1;
  });
  if (!data || !data->get(deadline)) return;
  if (!try_store(env, "t", "manifest") || !env.storage.sync_directory("", deadline)) return;
  if (!env.storage.link_if_absent("t", "MANIFEST", deadline) || !env.storage.sync_directory("", deadline)) return;
  for (int peer = 1; peer < env.net.world_size(); ++peer)
    static_cast<void>(env.net.send({peer}, {1, 1}, to_bytes(as_bytes("done")), deadline));
}

std::uint32_t calls_of_rank_0(bool random) {
  Disk disk;
  return run({.name = "dry", .world_size = 3, .random_latency = random}, disk, commit).calls_by_rank[0];
}

TEST(Kill, AtEverySiteLeavesAnUnwoundRankAndPeersThatReturn) {
  const std::uint32_t calls = calls_of_rank_0(false);
  ASSERT_GT(calls, 12u);
  for (std::uint32_t ordinal = 0; ordinal < calls; ++ordinal) {
    Disk disk;
    const Scenario scenario{
        .name = "kill", .world_size = 3, .faults = {{.site = {{0}, ordinal}, .kind = FaultKind::kill_rank}}, .random_latency = false};
    const Trace trace = run(scenario, disk, commit);
    EXPECT_EQ(trace.fired.size(), 1u);
    EXPECT_EQ(trace.ends[0].how, RankEnd::killed);
    EXPECT_EQ(trace.ends[0].what, "kill_rank");
    for (const int peer : {1, 2}) EXPECT_EQ(trace.ends[static_cast<std::size_t>(peer)].how, RankEnd::returned);
    EXPECT_LT(trace.virtual_ns, 1'000'000'000) << "peers noticed only at their deadline";
    EXPECT_EQ(trace.calls_by_rank[0], ordinal + 1);
    EXPECT_EQ(trace.harness_error, "");
  }
}

TEST(Kill, LeavesUnsyncedBytesInThePageCache) {
  Disk disk;
  const Scenario scenario{.name = "kill", .faults = {{.site = {{0}, 2}, .kind = FaultKind::kill_rank}}, .random_latency = false};
  run(scenario, disk, [](const port::Env& env, Rank) { store(env, "a", "text"); });  // dies at the sync
  EXPECT_EQ(as_text(disk.read_file("a").value()), "text");
  EXPECT_EQ(disk.pending_operations(), 2u);
}

TEST(Kill, MayLoseOrDeliverWhatWasUnderWay) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Disk disk;
    const Scenario scenario{
        .name = "in flight", .world_size = 2, .seed = seed, .faults = {{.site = {{0}, 2}, .kind = FaultKind::kill_rank}}};
    run(scenario, disk, [&](const port::Env& env, Rank rank) {
      if (rank.value == 0) {
        for (std::uint64_t tag = 1; tag < 4; ++tag) static_cast<void>(env.net.send({1}, {1, tag}, {}, env.clock.after(5s)));
        return;
      }
      std::string got;
      for (std::uint64_t tag = 1; tag < 4; ++tag) {
        const auto received = env.net.receive({0}, {1, tag}, env.clock.after(5s));
        got += received ? "y" : received.error().code == ErrorCode::peer_lost ? "n" : "?";
      }
      seen.insert(got);
    });
  }
  EXPECT_EQ(seen, (std::set<std::string>{"nnn", "ynn", "yyn"}));
}

TEST(Kill, RunsDestructorsWhoseDoorsAreVoid) {
  struct RemovesFile {
    const port::Env& env;
    bool& ran;
    ~RemovesFile() {
      ran = true;
      static_cast<void>(env.storage.remove("a", env.clock.after(1s)));
    }
  };
  bool ran = false;
  bool task_ran = false;
  Disk disk;
  const Scenario scenario{.name = "void", .faults = {{.site = {{0}, 6}, .kind = FaultKind::kill_rank}}, .random_latency = false};
  const Trace trace = run(scenario, disk, [&](const port::Env& env, Rank) {
    store(env, "a", "text");
    const RemovesFile guard{env, ran};
    const auto task = env.tasks.spawn("task", [&] {
      const RemovesFile inner{env, task_ran};
      env.clock.sleep_until(env.clock.now() + 5s);
    });
    env.clock.sleep_until(env.clock.now() + 50s);
    must(env.tasks.join(task.value(), env.clock.after(1s)));
  });
  EXPECT_EQ(trace.ends[0].how, RankEnd::killed);
  EXPECT_TRUE(ran);
  EXPECT_TRUE(task_ran);
  EXPECT_EQ(as_text(disk.read_file("a").value()), "text");
}

TEST(Kill, ReportsACatchThatSwallowsIt) {
  Disk disk;
  const Scenario scenario{.name = "swallow", .faults = {{.site = {{0}, 0}, .kind = FaultKind::kill_rank}}};
  const Trace trace = run(scenario, disk, [](const port::Env& env, Rank) {
    try {
      store(env, "a", "text");
    } catch (...) {  // NOLINT: the mistake under test
    }
    store(env, "b", "text");
  });
  EXPECT_EQ(trace.harness_error, "rank 0 task 0 swallowed its kill with a catch (...)");
  EXPECT_EQ(trace.ends[0].how, RankEnd::killed);
  EXPECT_TRUE(disk.paths().empty());
}

TEST(PowerLoss, AtEverySiteLeavesTheOldStateOrTheNewOne) {
  for (const PersistenceModel model : {PersistenceModel::strict, PersistenceModel::ext4_ordered, PersistenceModel::weak}) {
    for (std::uint32_t ordinal = 0; ordinal < calls_of_rank_0(false); ++ordinal) {
      for (std::uint64_t seed = 0; seed < 20; ++seed) {
        Disk disk;
        const Scenario scenario{.name = "power",
                                .world_size = 3,
                                .seed = seed,
                                .faults = {{.site = {{0}, ordinal}, .kind = FaultKind::power_loss}},
                                .persistence = model,
                                .random_latency = false};
        const Trace trace = run(scenario, disk, commit);
        ASSERT_TRUE(trace.power_lost);
        EXPECT_EQ(disk.pending_operations(), 0u);
        const Result<Bytes> manifest = disk.read_file("MANIFEST");
        if (!manifest) continue;
        EXPECT_EQ(as_text(*manifest), "manifest") << "power lost at " << ordinal << ", " << to_string(model);
        EXPECT_EQ(as_text(disk.read_file("data").value()), "data");
      }
    }
  }
}

TEST(PowerLoss, IsReplayedWithItsCrash) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Disk first;
    Scenario scenario{.name = "power", .world_size = 3, .seed = seed, .faults = {{.site = {{0}, 7}, .kind = FaultKind::power_loss}}};
    const Trace seeded = run(scenario, first, commit);
    Disk second;
    scenario.replay = seeded.decisions;
    const Trace replayed = run(scenario, second, commit);
    EXPECT_EQ(seeded.event_hash, replayed.event_hash);
    EXPECT_EQ(first.hash(), second.hash());
    EXPECT_EQ(replayed.diverged, "");
  }
}

}  // namespace
}  // namespace holdfast::sim
