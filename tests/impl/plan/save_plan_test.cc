#include "impl/plan/save_plan.h"

#include <gtest/gtest.h>

#include <numeric>

#include "impl/plan/check.h"
#include "impl/plan/summary.h"
#include "impl/plan/validate.h"
#include "tests/impl/plan/plan_testing.h"

namespace holdfast::plan {
namespace {

std::string refusal(std::vector<SavePlan> local) {
  const auto global = global_save_plan(std::move(local));
  if (global) return "accepted";
  EXPECT_EQ(global.error().code, ErrorCode::invalid_argument);
  return global.error().message;
}

TEST(LocalSavePlan, ListsEveryBoxAndByteValueInNameOrder) {
  StateDict state;
  ASSERT_TRUE(state.add_bytes("b", Bytes(5)));
  ASSERT_TRUE(state.add("a", tensor_entry({4, 2}, {Box{{2, 0}, {2, 2}}, Box{{0, 0}, {1, 2}}})));
  ASSERT_TRUE(state.add("c", plain_entry({3}, DType::bf16)));
  const SavePlan plan = local_save_plan(state).value();
  EXPECT_EQ(names(plan), "a@[2,0] a@[0,0] b c@[0]");
  EXPECT_EQ(plan.items[0].type, WriteItemType::shard);
  EXPECT_EQ(plan.items[0].index.hint, 0u);
  EXPECT_EQ(plan.items[1].index.hint, 1u);
  EXPECT_EQ(plan.items[1].stored_bytes(), 8u);
  EXPECT_EQ(plan.items[2].type, WriteItemType::bytes);
  EXPECT_EQ(plan.items[2].index.offset, std::nullopt);
  EXPECT_EQ(plan.items[2].stored_bytes(), 5u);
  EXPECT_EQ(plan.items[3].type, WriteItemType::tensor);
  EXPECT_EQ(plan.items[3].stored_bytes(), 6u);
}

TEST(LocalSavePlan, GivesAScalarAnOffsetWithoutNumbers) {
  StateDict state;
  ASSERT_TRUE(state.add("step", plain_entry({}, DType::i64)));
  const SavePlan plan = local_save_plan(state).value();
  EXPECT_EQ(plan.items[0].index.offset, Dims{});
  EXPECT_EQ(plan.items[0].stored_bytes(), 8u);
}

TEST(LocalSavePlan, RefusesLocalBoxesThatOverlap) {
  StateDict state;
  ASSERT_TRUE(state.add("w", tensor_entry({4}, {Box{{0}, {3}}, Box{{2}, {2}}})));
  const auto plan = local_save_plan(state);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().message, "plan this rank's part of the save: \"w\": local boxes [0]+[3] and [2]+[2] overlap");
}

TEST(GlobalSavePlan, SpreadsReplicasByBytesAsDcpDoes) {
  const SavePlan local = plan_of({whole_item("t0", {100}), whole_item("t1", {10}), whole_item("t2", {50}), whole_item("t3", {50}),
                                  whole_item("t4", {7}), whole_item("t5", {1}), bytes_item("value", 4)});
  const GlobalSavePlan global = global_save_plan(std::vector<SavePlan>(4, local)).value();
  EXPECT_EQ(names(global.plans[0]), "t0@[0]");
  EXPECT_EQ(names(global.plans[1]), "t2@[0]");
  EXPECT_EQ(names(global.plans[2]), "t3@[0]");
  EXPECT_EQ(names(global.plans[3]), "t1@[0] t4@[0] t5@[0] value");
}

TEST(GlobalSavePlan, CountsWhatOnlyOneRankHoldsBeforeItSpreadsReplicas) {
  const GlobalSavePlan global =
      global_save_plan({plan_of({whole_item("a", {8}), whole_item("z", {100})}), plan_of({whole_item("a", {8})})}).value();
  EXPECT_EQ(names(global.plans[0]), "z@[0]");
  EXPECT_EQ(names(global.plans[1]), "a@[0]");
}

TEST(GlobalSavePlan, WeighsChunksByTheirOwnBytesNotByTheTensor) {
  const Dims shape = {100};
  const GlobalSavePlan global = global_save_plan({plan_of({whole_item("a", {20}), shard_item("w", {{0}, {10}}, shape)}),
                                                  plan_of({whole_item("a", {20}), shard_item("w", {{10}, {90}}, shape)})})
                                    .value();
  EXPECT_EQ(names(global.plans[0]), "a@[0] w@[0]");
  EXPECT_EQ(names(global.plans[1]), "w@[10]");
}

TEST(GlobalSavePlan, BreaksTiesByTheLowestRank) {
  std::vector<SavePlan> local(12);
  local[3] = local[11] = plan_of({whole_item("a", {4})});
  const GlobalSavePlan global = global_save_plan(local).value();
  EXPECT_EQ(names(global.plans[3]), "a@[0]");
  EXPECT_EQ(names(global.plans[11]), "");
}

TEST(GlobalSavePlan, LeavesAllToTheLowestRankWhenAsked) {
  const SavePlan local = plan_of({whole_item("a", {4}), whole_item("b", {4})});
  const GlobalSavePlan global = global_save_plan({local, local}, DedupPolicy::lowest_rank).value();
  EXPECT_EQ(names(global.plans[0]), "a@[0] b@[0]");
  EXPECT_TRUE(global.plans[1].items.empty());
}

TEST(GlobalSavePlan, ChoosesTheSameOwnersInWhateverOrderRanksListTheirItems) {
  std::vector<WriteItem> items = {whole_item("a", {4}), whole_item("b", {4}), whole_item("c", {6})};
  const auto owners = [&](const std::vector<WriteItem>& first) {
    const GlobalSavePlan global = global_save_plan({plan_of(first), plan_of(items), plan_of(items)}).value();
    std::vector<std::vector<std::string>> sorted;
    for (const SavePlan& plan : global.plans) {
      auto& keys = sorted.emplace_back();
      for (const WriteItem& item : plan.items) keys.push_back(item.index.fqn);
      std::ranges::sort(keys);
    }
    return sorted;
  };
  const auto expected = owners(items);
  std::vector<WriteItem> order = items;
  std::vector<int> permutation = {0, 1, 2};
  do {
    for (std::size_t i = 0; i < 3; ++i) order[i] = items[static_cast<std::size_t>(permutation[i])];
    EXPECT_EQ(owners(order), expected);
  } while (std::ranges::next_permutation(permutation).found);
}

TEST(GlobalSavePlan, KeepsTheOrderAndTheDataOfEachLocalPlan) {
  SavePlan local = plan_of({whole_item("z", {4}), whole_item("a", {4})});
  local.storage_data = Bytes(3);
  local.planner_data = Bytes(2);
  EXPECT_EQ(global_save_plan({local}).value().plans[0], local);
}

TEST(GlobalSavePlan, DropsEmptyBoxes) {
  const GlobalSavePlan global =
      global_save_plan({plan_of({shard_item("w", {{0}, {4}}, {4})}), plan_of({shard_item("w", {{4}, {0}}, {4})})}).value();
  EXPECT_TRUE(global.plans[1].items.empty());
  EXPECT_EQ(std::get<TensorMetadata>(global.metadata.entries.at("w")).chunks.size(), 1u);
}

TEST(GlobalSavePlan, KeepsOneItemOfATensorWithoutElements) {
  StateDict twice;
  ASSERT_TRUE(twice.add("w", tensor_entry({0}, {Box{{0}, {0}}, Box{{0}, {0}}})));
  const SavePlan local = local_save_plan(twice).value();
  const GlobalSavePlan global = global_save_plan({local, local}).value();
  EXPECT_EQ(names(global.plans[0]), "w@[0]");
  EXPECT_TRUE(global.plans[1].items.empty());
  EXPECT_EQ(std::get<TensorMetadata>(global.metadata.entries.at("w")), saved_tensor({0}, {Box{{0}, {0}}}));
}

TEST(GlobalSavePlan, TakesATensorThatOnlyOneRankHolds) {
  const Layout layout = ChunkLayout{0, {Rank{1}, Rank{1}}};
  std::vector<SavePlan> local;
  for (std::int32_t rank = 0; rank < 3; ++rank) {
    StateDict state;
    ASSERT_TRUE(state.add("w", laid_out({10, 10}, layout, Rank{rank})));
    local.push_back(local_save_plan(state).value());
  }
  const GlobalSavePlan global = global_save_plan(local).value();
  EXPECT_EQ(names(global.plans[1]), "w@[0,0] w@[5,0]");
  EXPECT_TRUE(global.plans[0].items.empty());
  EXPECT_EQ(std::get<TensorMetadata>(global.metadata.entries.at("w")).chunks.size(), 2u);
}

TEST(GlobalSavePlan, RefusesATensorOfWhichNobodyHoldsAnything) {
  StateDict state;
  ASSERT_TRUE(state.add("w", laid_out({10, 10}, ChunkLayout{0, {Rank{7}}}, Rank{0})));
  EXPECT_EQ(refusal({local_save_plan(state).value()}), "plan save: \"w\": a tensor of shape [10,10] of which no rank holds anything");
}

TEST(GlobalSavePlan, ComparesTheShapeWithRanksThatHoldNothing) {
  StateDict holder;
  StateDict other;
  const Layout layout = ChunkLayout{0, {Rank{0}}};
  ASSERT_TRUE(holder.add("w", laid_out({10}, layout, Rank{0})));
  ASSERT_TRUE(other.add("w", laid_out({12}, layout, Rank{1})));
  EXPECT_EQ(refusal({local_save_plan(holder).value(), local_save_plan(other).value()}),
            "plan save: \"w\": the shape differs between ranks: [10] on rank 0, [12] on rank 1");
}

TEST(GlobalSavePlan, NamesBothRanksAndBothDtypes) {
  EXPECT_EQ(refusal({plan_of({}), plan_of({whole_item("w", {4}, DType::f32)}), plan_of({whole_item("w", {4}, DType::bf16)})}),
            "plan save: \"w\": the dtype differs between ranks: F32 on rank 1, BF16 on rank 2");
}

TEST(GlobalSavePlan, CountsTheRanksThatDifferInsteadOfListingThem) {
  std::vector<SavePlan> local(5, plan_of({whole_item("w", {4})}));
  local[0] = plan_of({whole_item("w", {5})});
  EXPECT_EQ(refusal(local),
            "plan save: \"w\": the shape differs between ranks: [5] on rank 0, [4] on rank 1 (4 items differ from rank 0's)");
}

TEST(GlobalSavePlan, RefusesATensorOnOneRankAndAByteValueOnAnother) {
  EXPECT_EQ(refusal({plan_of({whole_item("w", {4})}), plan_of({bytes_item("w", 16)})}),
            "plan save: \"w\": the kind differs between ranks: a tensor on rank 0, a byte value on rank 1");
}

TEST(GlobalSavePlan, RefusesReplicasOfAByteValueThatCannotBeEqual) {
  EXPECT_EQ(refusal({plan_of({bytes_item("rng", 5)}), plan_of({bytes_item("rng", 7)})}),
            "plan save: \"rng\": a byte value must be the same on all ranks that have it, but it is 5 bytes with digest "
            "00000000000000000000000000000000 on rank 0, 7 bytes with digest 00000000000000000000000000000000 on rank 1");
}

TEST(GlobalSavePlan, ListsTheRanksOfEveryVersionOfAByteValue) {
  std::vector<SavePlan> local;
  for (const char value : {'a', 'b', 'a', 'a'}) {
    StateDict state;
    ASSERT_TRUE(state.add_bytes("rng", {static_cast<std::byte>(value)}));
    local.push_back(local_save_plan(state).value());
  }
  EXPECT_EQ(refusal(local),
            "plan save: \"rng\": a byte value must be the same on all ranks that have it, but it is 1 bytes with digest "
            "4b2212e31ac97fd4575a0b1c44d8843f on rank 1, 1 bytes with digest a96faf705af16834e6c632b61e964e1f on ranks 0,2-3");
}

TEST(GlobalSavePlan, NamesAHole) {
  EXPECT_EQ(refusal({plan_of({shard_item("w", {{0}, {3}}, {8})})}),
            "plan save: \"w\": shape [8]: nothing holds [3]+[5]; 3 of 8 elements are there");
}

TEST(GlobalSavePlan, NamesOverlappingChunksAndTheirRanks) {
  EXPECT_EQ(refusal({plan_of({shard_item("w", {{0}, {5}}, {8})}), plan_of({shard_item("w", {{4}, {4}}, {8})})}),
            "plan save: \"w\": chunks [0]+[5] and [4]+[4] overlap, on ranks 0 and 1");
}

TEST(GlobalSavePlan, TakesChunksWithOneOffsetButOtherSizesForAnOverlap) {
  EXPECT_EQ(refusal({plan_of({shard_item("w", {{0}, {8}}, {8})}), plan_of({shard_item("w", {{0}, {4}}, {8})})}),
            "plan save: \"w\": chunks [0]+[4] and [0]+[8] overlap, on ranks 1 and 0");
}

TEST(GlobalSavePlan, RefusesAnItemThatARankListsTwice) {
  const WriteItem item = shard_item("w", {{0}, {8}}, {8});
  EXPECT_EQ(refusal({plan_of({item, item})}), "plan save: \"w\": rank 0 lists [0]+[8] twice");
  EXPECT_EQ(refusal({plan_of({bytes_item("b", 1), bytes_item("b", 1)})}), "plan save: \"b\": rank 0 lists it twice");
}

TEST(GlobalSavePlan, RefusesAChunkOutsideItsTensor) {
  EXPECT_EQ(refusal({plan_of({shard_item("w", {{6}, {4}}, {8})})}), "plan save: \"w\" on rank 0: chunk [6]+[4] outside shape [8]");
  EXPECT_EQ(refusal({plan_of({shard_item("w", {{-1}, {4}}, {8})})}), "plan save: \"w\" on rank 0: chunk [-1]+[4] outside shape [8]");
  EXPECT_EQ(refusal({plan_of({shard_item("w", {{0, 0}, {4, 4}}, {8})})}),
            "plan save: \"w\" on rank 0: chunk [0,0]+[4,4] outside shape [8]");
}

TEST(GlobalSavePlan, ListsEveryProblemUpToTwentyAndCountsTheRest) {
  std::vector<WriteItem> items;
  for (int i = 0; i < 25; ++i) items.push_back(shard_item(fmt::format("w{:02}", i), {{0}, {1}}, {2}));
  const std::string text = refusal({plan_of(items)});
  EXPECT_TRUE(text.starts_with("plan save: 25 problems: \"w00\": shape [2]: nothing holds [1]+[1]; 1 of 2 elements are there; \"w01\""))
      << text;
  EXPECT_TRUE(text.ends_with("; and 5 more")) << text;
  EXPECT_NE(text.find("\"w19\""), std::string::npos);
  EXPECT_EQ(text.find("\"w20\""), std::string::npos);
}

TEST(GlobalSavePlan, StaysBalancedWhenAllHoldAll) {
  std::vector<WriteItem> items;
  for (int i = 0; i < 40; ++i) items.push_back(whole_item(fmt::format("w{:02}", i), {1 + (i * 37) % 23}));
  const GlobalSavePlan global = global_save_plan(std::vector<SavePlan>(7, plan_of(items))).value();
  std::vector<std::uint64_t> bytes(7, 0);
  for (std::size_t rank = 0; rank < 7; ++rank) {
    for (const WriteItem& item : global.plans[rank].items) bytes[rank] += item.stored_bytes();
  }
  EXPECT_LT(imbalance(bytes), 1.05);
}

TEST(Validate, HoldsASingleProcessToTheSameCoverage) {
  const std::vector<SavePlan> plans = {plan_of({shard_item("w", {{0}, {3}}, {8})})};
  EXPECT_FALSE(validate(plans));
  EXPECT_TRUE(validate(plans, Coverage::partial));
}

TEST(Validate, RefusesAPieceThatTwoRanksWrite) {
  const SavePlan plan = plan_of({whole_item("w", {4}), bytes_item("b", 1)});
  const auto status = validate(std::vector<SavePlan>{plan, plan});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "validate save plan: 2 problems: \"b\": written 2 times, on ranks 0 and 1; "
            "\"w\": chunks [0]+[4] and [0]+[4] overlap, on ranks 0 and 1");
}

TEST(Validate, RefusesMetadataWithAHoleAnOverlapOrAChunkOutside) {
  const auto text = [](const TensorMetadata& tensor) {
    Metadata metadata;
    metadata.entries["w"] = tensor;
    const auto status = validate(metadata);
    EXPECT_EQ(status ? ErrorCode::corrupt : status.error().code, ErrorCode::corrupt);
    return status ? "sound" : status.error().message;
  };
  EXPECT_EQ(text(saved_tensor({8}, {Box{{0}, {4}}, Box{{4}, {4}}})), "sound");
  EXPECT_EQ(text(saved_tensor({8}, {Box{{0}, {4}}})),
            "validate metadata: \"w\": shape [8]: nothing holds [4]+[4]; 4 of 8 elements are there");
  EXPECT_EQ(text(saved_tensor({8}, {Box{{0}, {5}}, Box{{4}, {4}}})), "validate metadata: \"w\": chunks [0]+[5] and [4]+[4] overlap");
  EXPECT_EQ(text(saved_tensor({8}, {Box{{4}, {5}}})), "validate metadata: \"w\": chunk [4]+[5] outside shape [8]");
  EXPECT_EQ(text({DType::f32, {8}, ChunkSet(ChunkSet::Grid{{8}, 1, 2})}),
            "validate metadata: \"w\": a grid of 2 chunks along dimension 1 of [8] cannot be cut from shape [8]");
  EXPECT_EQ(text({DType::f32, {5}, ChunkSet(ChunkSet::Grid{{5}, 0, 4})}),
            "validate metadata: \"w\": a grid of 4 chunks along dimension 0 of [5] cannot be cut from shape [5]");
}

}  // namespace
}  // namespace holdfast::plan
