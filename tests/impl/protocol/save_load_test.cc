#include <gtest/gtest.h>

#include <mutex>

#include "impl/protocol/load.h"
#include "impl/protocol/recover.h"
#include "impl/protocol/save.h"
#include "impl/protocol/verify.h"
#include "properties/gen/state_spec.h"
#include "properties/worlds/threads_world.h"

namespace holdfast::protocol {
namespace {

using properties::gen::StateSpec;

StateSpec sample(int world_size) {
  StateSpec spec;
  spec.world_size = world_size;
  ChunkLayout all{0, {}};
  for (int r = 0; r < world_size; ++r) all.placements.push_back(Rank{r});
  spec.tensors = {
      {"a.weight", DType::f32, {10, 10}, all, 0},
      {"b.replicated", DType::bf16, {4, 3}, ReplicatedLayout{}, 1},
      {"c.columns", DType::f64, {3, 9}, ChunkLayout{1, all.placements}, 2},
      {"d.scalar", DType::i64, {}, ReplicatedLayout{}, 0},
      {"e.empty", DType::u8, {0, 4}, all, 0},
      {"f.one_rank", DType::c128, {5}, ChunkLayout{0, {Rank{0}}}, 0},
      {"g.twice", DType::f8_e4m3, {11, 2}, ChunkLayout{0, {Rank{0}, Rank{0}, Rank{world_size - 1}}}, 0},
  };
  spec.values = {{"trainer", 37}, {"empty", 0}};
  return spec;
}

struct Job {
  std::unique_ptr<properties::World> world = *properties::ThreadsWorld::make();
  std::vector<std::string> problems;

  template <typename Body>
  void run(int ranks, Body body) {
    const auto rank_main = [&](const port::Env& env, Rank rank) {
      body(env, rank);
      return Bytes();
    };
    problems = world->run(ranks, 0, rank_main).problems;
  }
};

std::vector<std::string> save_all(Job& job, const StateSpec& spec, std::uint64_t version, Step step) {
  std::vector<std::string> results(static_cast<std::size_t>(spec.world_size));
  const auto values = make_values(spec, version);
  job.run(spec.world_size, [&](const port::Env& env, Rank rank) {
    const auto state = make_state(spec, rank, values);
    Session session(env);
    const auto saved = save(session, state.dict, {.step = step, .block_bytes = 64});
    results[static_cast<std::size_t>(rank.value)] = saved ? saved->directory : to_string(saved.error());
  });
  return results;
}

std::vector<std::string> load_all(Job& job, const StateSpec& spec, std::uint64_t version) {
  std::vector<std::string> results(static_cast<std::size_t>(spec.world_size));
  const auto values = make_values(spec, version);
  job.run(spec.world_size, [&](const port::Env& env, Rank rank) {
    auto state = make_destination(spec, rank);
    Session session(env);
    const auto loaded = load(session, state.dict, {});
    results[static_cast<std::size_t>(rank.value)] =
        loaded ? difference(state, spec, rank, values).value_or(loaded->directory) : to_string(loaded.error());
  });
  return results;
}

TEST(SaveLoad, RoundTripsEveryKindOfEntryAndReshards) {
  Job job;
  for (int world = 1; world <= 4; ++world) {
    const Step step{world};
    for (const std::string& result : save_all(job, sample(world), 1, step)) EXPECT_EQ(result, fmt::format("step-{}.a{}", world, world));
    EXPECT_TRUE(job.problems.empty()) << fmt::format("{}", fmt::join(job.problems, "\n"));
    for (int other = 1; other <= 5; ++other) {
      for (const std::string& result : load_all(job, sample(other), 1)) EXPECT_EQ(result, fmt::format("step-{}.a{}", world, world));
      EXPECT_TRUE(job.problems.empty()) << fmt::format("{}", fmt::join(job.problems, "\n"));
    }
  }
}

TEST(SaveLoad, KeepsTheNewestAndRetiresTheRest) {
  Job job;
  for (int version = 1; version <= 4; ++version) save_all(job, sample(2), static_cast<std::uint64_t>(version), Step{100 - version});
  for (const std::string& result : load_all(job, sample(3), 4)) EXPECT_EQ(result, "step-96.a4");
  job.run(1, [&](const port::Env& env, Rank) {
    const auto report = verify_all(env.storage, [&] { return env.clock.after(std::chrono::seconds(30)); });
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->findings.empty()) << report->findings[0].file << ": " << report->findings[0].message;
    EXPECT_EQ(report->tensors, 14u);
    auto entries = env.storage.list("", env.clock.after(std::chrono::seconds(5)));
    ASSERT_TRUE(entries);
    EXPECT_EQ(entries->size(), 4u);  // two checkpoints, the hint and the mark
  });
}

TEST(SaveLoad, SaysNoCheckpointWhenThereIsNone) {
  Job job;
  for (const std::string& result : load_all(job, sample(2), 1)) {
    EXPECT_EQ(result, "choose failed: rank 0: load: there is no checkpoint (not_found)");
  }
}

}  // namespace
}  // namespace holdfast::protocol
