#include "impl/plan/summary.h"

#include <gtest/gtest.h>

#include "impl/plan/load_plan.h"
#include "tests/impl/plan/plan_testing.h"

namespace holdfast::plan {
namespace {

TEST(Summary, AddsUpASave) {
  std::vector<SavePlan> local;
  for (std::int64_t rank = 0; rank < 4; ++rank) {
    local.push_back(plan_of({bytes_item("b", 40), shard_item("w", {{rank * 64, 0}, {64, 16}}, {256, 16})}));
  }
  const SaveSummary summary = summarize(global_save_plan(local).value(), local);
  EXPECT_EQ(summary.logical_bytes, 16384u + 40);
  EXPECT_EQ(summary.written_bytes, 16384u + 40);
  EXPECT_EQ(summary.dedup_saved_bytes, 120u);
  EXPECT_EQ(summary.ranks, 4u);
  EXPECT_EQ(summary.files, 4u);
  EXPECT_EQ(summary.chunks, 4u);
  EXPECT_EQ(summary.bytes_a_rank, (Spread{4096, 4096, 4136}));
  EXPECT_EQ(to_string(summary),
            "logical       16.0 KiB\nwritten       16.0 KiB in 4 chunks, 4 files\ndedup saved   120 B\nranks         4\n"
            "bytes a rank  min 4.0 KiB, median 4.0 KiB, max 4.0 KiB, imbalance 1.0\n");
}

TEST(Summary, ShowsWhatIsWrongWithASave) {
  const std::vector<SavePlan> local = {plan_of({shard_item("w", {{0}, {4}}, {8})}), plan_of({shard_item("w", {{4}, {4}}, {8})})};
  GlobalSavePlan global = global_save_plan(local).value();
  global.plans[1].items.clear();
  const std::string text = to_string(summarize(global, local));
  EXPECT_NE(text.find("E uncovered: \"w\": element [4] is written 0 times\n"), std::string::npos) << text;
}

TEST(Summary, CountsColumnsAsReadsOfWholeRows) {
  StateDict state;
  ASSERT_TRUE(state.add("w", tensor_entry({8, 4}, {Box{{0, 0}, {8, 1}}}, DType::u8)));
  const std::vector<SavePlan> written = {plan_of({shard_item("w", {{0, 0}, {4, 4}}, {8, 4}, DType::u8)}),
                                         plan_of({shard_item("w", {{4, 0}, {4, 4}}, {8, 4}, DType::u8)})};
  const GlobalSavePlan global = global_save_plan(written).value();
  const std::vector<LoadPlan> plans = {local_load_plan(state, global.metadata).value()};
  const LoadSummary summary = summarize(plans, global.metadata, global.plans);
  EXPECT_EQ(summary.needed_bytes, 8u);
  EXPECT_EQ(summary.read_bytes, 26u);
  EXPECT_DOUBLE_EQ(summary.amplification, 3.25);
  EXPECT_EQ(summary.files_a_rank_max, 2u);
  EXPECT_EQ(summary.items, 2u);
  EXPECT_TRUE(summary.findings.empty());
}

TEST(Summary, WarnsOfAFileThatEverybodyReads) {
  std::vector<SavePlan> written = {plan_of({whole_item("hot", {1000})})};
  for (int rank = 1; rank < 10; ++rank) written.push_back(plan_of({whole_item(fmt::format("w{}", rank), {10})}));
  const GlobalSavePlan global = global_save_plan(written).value();
  std::vector<LoadPlan> plans;
  for (int rank = 0; rank < 10; ++rank) {
    StateDict state;
    ASSERT_TRUE(state.add("hot", plain_entry({1000})));
    if (rank > 0) {
      ASSERT_TRUE(state.add(fmt::format("w{}", rank), plain_entry({10})));
    }
    plans.push_back(local_load_plan(state, global.metadata).value());
  }
  const LoadSummary summary = summarize(plans, global.metadata, global.plans);
  ASSERT_EQ(summary.findings.size(), 1u);
  EXPECT_EQ(to_string(summary.findings[0]), "W hot-file: 39.1 KiB are read of what rank 0 wrote, 3.9 KiB on average");
  EXPECT_TRUE(summarize(plans, global.metadata).findings.empty());
}

TEST(Summary, MeasuresSpreadAndImbalance) {
  EXPECT_EQ(spread({}), Spread{});
  EXPECT_EQ(spread({5, 1, 9, 3}), (Spread{1, 3, 9}));
  EXPECT_EQ(imbalance({}), 1);
  EXPECT_EQ(imbalance(std::vector<std::uint64_t>{0, 0}), 1);
  EXPECT_EQ(imbalance(std::vector<std::uint64_t>{9, 0, 0}), 3);
}

TEST(Summary, WritesSizesForPeople) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(~std::uint64_t{0}), "16.0 EiB");
}

}  // namespace
}  // namespace holdfast::plan
