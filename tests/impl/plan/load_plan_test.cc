#include "impl/plan/load_plan.h"

#include <gtest/gtest.h>

#include "tests/impl/plan/plan_testing.h"

namespace holdfast::plan {
namespace {

/// Rows 0..rows-1 of a one-column tensor, cut evenly into chunks.
TensorMetadata rows_saved(std::int64_t rows, std::int64_t chunk_rows) {
  std::vector<Box> boxes;
  for (std::int64_t at = 0; at < rows; at += chunk_rows) boxes.push_back({{at, 0}, {chunk_rows, 1}});
  return saved_tensor({rows, 1}, std::move(boxes));
}

LoadPlan plan_rows(const TensorMetadata& saved, std::int64_t begin, std::int64_t rows) {
  StateDict state;
  EXPECT_TRUE(state.add("w", tensor_entry(saved.shape, {Box{{begin, 0}, {rows, 1}}})));
  Metadata metadata;
  metadata.entries["w"] = saved;
  return local_load_plan(state, metadata).value();
}

std::string refusal(const StateDict& state, const Metadata& metadata, ErrorCode code = ErrorCode::invalid_argument) {
  const auto plan = local_load_plan(state, metadata);
  if (plan) return "accepted";
  EXPECT_EQ(plan.error().code, code);
  return plan.error().message;
}

TEST(LoadPlan, ReadsTwoChunksWhenHalfAsManyRanksLoad) {
  const LoadPlan plan = plan_rows(rows_saved(128, 16), 32, 32);
  ASSERT_EQ(plan.items.size(), 2u);
  EXPECT_EQ(plan.items[0].dest_offset, (Dims{0, 0}));
  EXPECT_EQ(plan.items[0].storage_index, (MetadataIndex{"w", Dims{32, 0}, {}}));
  EXPECT_EQ(plan.items[0].storage_index.hint, 2u);
  EXPECT_EQ(plan.items[0].lengths, (Dims{16, 1}));
  EXPECT_EQ(plan.items[1].dest_offset, (Dims{16, 0}));
  EXPECT_EQ(plan.items[1].storage_index.offset, (Dims{48, 0}));
  EXPECT_EQ(plan.items[1].dest_index, (MetadataIndex{"w", Dims{32, 0}, {}}));
  EXPECT_EQ(plan.items[1].dest_index.hint, 0u);
}

TEST(LoadPlan, ReadsAPartOfAChunkWhenTwiceAsManyRanksLoad) {
  const LoadPlan plan = plan_rows(rows_saved(128, 32), 16, 16);
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.items[0].storage_offset, (Dims{16, 0}));
  EXPECT_EQ(plan.items[0].dest_offset, (Dims{0, 0}));
  EXPECT_EQ(plan.items[0].lengths, (Dims{16, 1}));
}

TEST(LoadPlan, LoadsThreeTimesFortyRowsFromFourTimesThirty) {
  const LoadPlan plan = plan_rows(rows_saved(120, 30), 40, 40);
  ASSERT_EQ(plan.items.size(), 2u);
  EXPECT_EQ(plan.items[0].storage_index.offset, (Dims{30, 0}));
  EXPECT_EQ(plan.items[0].storage_offset, (Dims{10, 0}));
  EXPECT_EQ(plan.items[0].lengths, (Dims{20, 1}));
  EXPECT_EQ(plan.items[1].storage_index.offset, (Dims{60, 0}));
  EXPECT_EQ(plan.items[1].storage_offset, (Dims{0, 0}));
  EXPECT_EQ(plan.items[1].dest_offset, (Dims{20, 0}));
  EXPECT_EQ(plan.items[1].lengths, (Dims{20, 1}));
}

TEST(LoadPlan, TakesUnevenShardsIntoUnevenShards) {
  const TensorMetadata saved = saved_tensor({16, 1}, {Box{{0, 0}, {4, 1}}, Box{{4, 0}, {3, 1}}, Box{{7, 0}, {4, 1}}, Box{{11, 0}, {5, 1}}});
  EXPECT_EQ(plan_rows(saved, 0, 2).items.size(), 1u);
  EXPECT_EQ(plan_rows(saved, 2, 4).items.size(), 2u);
  EXPECT_EQ(plan_rows(saved, 6, 6).items.size(), 3u);
  EXPECT_EQ(plan_rows(saved, 12, 4).items.size(), 1u);
}

TEST(LoadPlan, AsksForNothingOfAnEmptyBoxAndForByteValuesWhole) {
  StateDict state;
  ASSERT_TRUE(state.add("w", tensor_entry({8}, {Box{{8}, {0}}})));
  ASSERT_TRUE(state.add_bytes("b", {}));
  Metadata metadata;
  metadata.entries["w"] = saved_tensor({8}, {Box{{0}, {8}}});
  metadata.entries["b"] = BytesMetadata{};
  const LoadPlan plan = local_load_plan(state, metadata).value();
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.items[0].type, ReadItemType::bytes);
  EXPECT_EQ(plan.items[0].storage_index.fqn, "b");
  EXPECT_EQ(plan.items[0].dest_index.offset, std::nullopt);
}

TEST(LoadPlan, NamesAllMissingKeysAtOnce) {
  StateDict state;
  ASSERT_TRUE(state.add("w", plain_entry({4})));
  ASSERT_TRUE(state.add_bytes("b", {}));
  EXPECT_EQ(refusal(state, {}), "plan load: missing in the checkpoint: \"b\", \"w\"");
}

TEST(LoadPlan, LeavesMissingKeysAloneWhenNotStrict) {
  StateDict state;
  ASSERT_TRUE(state.add("w", plain_entry({4})));
  ASSERT_TRUE(state.add("v", plain_entry({4})));
  Metadata metadata;
  metadata.entries["w"] = saved_tensor({4}, {Box{{0}, {4}}});
  const LoadPlan plan = local_load_plan(state, metadata, {.strict = false}).value();
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.items[0].dest_index.fqn, "w");
}

TEST(LoadPlan, NeverCastsAndNamesFoundAndExpected) {
  StateDict state;
  ASSERT_TRUE(state.add("w", plain_entry({4}, DType::bf16)));
  Metadata metadata;
  metadata.entries["w"] = saved_tensor({5}, {Box{{0}, {5}}});
  EXPECT_EQ(refusal(state, metadata),
            "plan load: 2 problems: \"w\": shape [5] in the checkpoint, [4] in the destination; "
            "\"w\": dtype F32 in the checkpoint, BF16 in the destination; nothing is cast");
}

TEST(LoadPlan, RefusesAByteValueForATensorAndTheReverse) {
  StateDict state;
  ASSERT_TRUE(state.add("w", plain_entry({4})));
  ASSERT_TRUE(state.add_bytes("b", {}));
  Metadata metadata;
  metadata.entries["w"] = BytesMetadata{};
  metadata.entries["b"] = saved_tensor({5}, {Box{{0}, {5}}});
  EXPECT_EQ(refusal(state, metadata),
            "plan load: 2 problems: \"b\": a tensor of shape [5] in the checkpoint, a byte value in the destination; "
            "\"w\": a byte value in the checkpoint, a tensor of shape [4] in the destination");
}

TEST(LoadPlan, RefusesARegionThatNoChunkCovers) {
  StateDict state;
  ASSERT_TRUE(state.add("w", tensor_entry({8}, {Box{{2}, {4}}})));
  Metadata metadata;
  metadata.entries["w"] = saved_tensor({8}, {Box{{0}, {3}}, Box{{5}, {3}}});
  EXPECT_EQ(refusal(state, metadata, ErrorCode::corrupt),
            "plan load: \"w\": wanted [2]+[4] of shape [8], but no saved chunk covers [3]+[2]");
  metadata.entries["w"] = saved_tensor({8}, {});
  EXPECT_EQ(refusal(state, metadata, ErrorCode::corrupt),
            "plan load: \"w\": wanted [2]+[4] of shape [8], but no saved chunk covers [2]+[4]");
}

TEST(LoadPlan, DoesNotMindAHoleItDoesNotNeed) {
  StateDict state;
  ASSERT_TRUE(state.add("w", tensor_entry({8}, {Box{{0}, {3}}})));
  Metadata metadata;
  metadata.entries["w"] = saved_tensor({8}, {Box{{0}, {3}}});
  EXPECT_TRUE(local_load_plan(state, metadata));
}

TEST(LoadPlan, RefusesChunksThatOverlapOrLieOutside) {
  StateDict state;
  ASSERT_TRUE(state.add("w", plain_entry({8})));
  Metadata metadata;
  metadata.entries["w"] = saved_tensor({8}, {Box{{0}, {5}}, Box{{4}, {4}}});
  EXPECT_EQ(refusal(state, metadata, ErrorCode::corrupt), "plan load: \"w\": saved chunks overlap in [0]+[5] and [4]+[4]");
  metadata.entries["w"] = saved_tensor({8}, {Box{{0}, {9}}});
  EXPECT_EQ(refusal(state, metadata, ErrorCode::corrupt), "plan load: \"w\": chunk [0]+[9] outside shape [8]");
  metadata.entries["w"] = saved_tensor({8}, {Box{{0, 0}, {8, 1}}});
  EXPECT_EQ(refusal(state, metadata, ErrorCode::corrupt), "plan load: \"w\": chunk [0,0]+[8,1] outside shape [8]");
}

TEST(LoadPlan, IsKeptByTheCoordinatorAsItIs) {
  const std::vector<LoadPlan> local = {plan_rows(rows_saved(8, 4), 0, 8), plan_rows(rows_saved(8, 4), 4, 4)};
  EXPECT_EQ(global_load_plan(local).value(), local);
}

TEST(LoadPlan, TellsKeysNobodyAskedFor) {
  StateDict state;
  ASSERT_TRUE(state.add("w", plain_entry({4})));
  Metadata metadata;
  for (const char* key : {"a", "w", "z"}) metadata.entries[key] = BytesMetadata{};
  EXPECT_EQ(unexpected_keys(state, metadata), (std::vector<std::string>{"a", "z"}));
}

}  // namespace
}  // namespace holdfast::plan
