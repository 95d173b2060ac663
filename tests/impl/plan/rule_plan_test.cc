// Tensors that are planned by rule: who writes what, worked by hand, and what is refused.
#include <gtest/gtest.h>

#include "impl/plan/check.h"
#include "impl/plan/codec.h"
#include "impl/plan/layout_table.h"
#include "impl/plan/lookup.h"
#include "impl/plan/ownership.h"
#include "impl/plan/save_plan.h"
#include "impl/plan/summary.h"
#include "impl/plan/validate.h"
#include "tests/impl/plan/plan_testing.h"

namespace holdfast::plan {
namespace {

MeshLayout over(std::initializer_list<std::int64_t> sizes, std::initializer_list<Placement> placements, std::int64_t first = 0) {
  return {packed_mesh(std::vector(sizes), first), placements, {}};
}

LayoutItem ruled(std::string name, Dims shape, MeshLayout layout, DType dtype = DType::f32) {
  return {std::move(name), dtype, std::move(shape), std::move(layout)};
}

SavePlan table_of(std::vector<LayoutItem> items) {
  SavePlan plan;
  plan.layouts = std::make_shared<const std::vector<LayoutItem>>(std::move(items));
  return plan;
}

/// Every rank with a table of its own that says the same.
std::vector<SavePlan> all_list(std::size_t ranks, const std::vector<LayoutItem>& items) {
  std::vector<SavePlan> plans;
  for (std::size_t r = 0; r < ranks; ++r) plans.push_back(table_of(items));
  return plans;
}

/// "w@[0] v@[4]": what `rank` writes, its boxes by offset.
std::string writes(const GlobalSavePlan& global, std::int32_t rank) {
  return names(expand(global.plans[static_cast<std::size_t>(rank)], Rank{rank}));
}

std::string refusal(std::vector<SavePlan> local) {
  const auto global = global_save_plan(std::move(local));
  return global ? "accepted" : global.error().message;
}

StateDict state_of(const std::string& name, const Dims& shape, const MeshLayout& rule, Rank rank) {
  StateDict state;
  TensorEntry entry = laid_out(shape, rule, rank);
  entry.rule = rule;
  EXPECT_TRUE(state.add(name, std::move(entry)));
  return state;
}

TEST(LocalSavePlan, ListsARuleInsteadOfItsBoxesWhenItKnowsItsRank) {
  const MeshLayout rule = over({2}, {Shard{0}});
  const StateDict state = state_of("w", {4}, rule, Rank{1});
  const SavePlan plan = local_save_plan(state, Rank{1}).value();
  EXPECT_TRUE(plan.items.empty());
  EXPECT_EQ(*plan.layouts, (std::vector<LayoutItem>{ruled("w", {4}, rule)}));
  EXPECT_EQ(names(local_save_plan(state).value()), "w@[2]");
}

TEST(LocalSavePlan, RefusesBoxesThatAreNotThoseOfTheRule) {
  const MeshLayout rule = over({2}, {Shard{0}});
  EXPECT_EQ(local_save_plan(state_of("w", {4}, rule, Rank{1}), Rank{0}).error().message,
            "plan this rank's part of the save: \"w\": local box 0 is [2]+[2], but by mesh(2 from 0) [shard(0)] rank 0 holds [0]+[2]");
  EXPECT_EQ(local_save_plan(state_of("w", {4}, rule, Rank{1}), Rank{2}).error().message,
            "plan this rank's part of the save: \"w\": 1 local boxes, but by mesh(2 from 0) [shard(0)] rank 2 holds 0");
  EXPECT_TRUE(local_save_plan(state_of("w", {4}, rule, Rank{2}), Rank{2}));
}

TEST(RulePlan, GivesSmallPartsWholeToTheRankInWhoseRunTheyEnd) {
  // Four parts of 40, 10, 30 and 40 elements on a line of 120, two runs of 60: a, b end in the first, d in the second; c ends at 80.
  const MeshLayout rule = over({2}, {Replicate{}});
  const auto local = all_list(2, {ruled("a", {40}, rule), ruled("b", {10}, rule), ruled("c", {30}, rule), ruled("d", {40}, rule)});
  const GlobalSavePlan global = global_save_plan(local).value();
  EXPECT_EQ(writes(global, 0), "a@[0] b@[0]");
  EXPECT_EQ(writes(global, 1), "c@[0] d@[0]");
  EXPECT_EQ(global.plans[0].layouts, global.plans[1].layouts) << "one table for both";
  EXPECT_TRUE(std::get<TensorMetadata>(global.metadata.entries.at("a")).chunks.mesh());
}

TEST(RulePlan, CutsLargePartsBetweenRowsOfAtLeast64KiB) {
  // 1,000 rows of 4 KiB over 3 replicas: runs of 341,334 elements, units of 16 rows.
  const GlobalSavePlan global = global_save_plan(all_list(3, {ruled("w", {1000, 1024}, over({3}, {Replicate{}}))})).value();
  std::vector<std::int64_t> rows;
  for (std::int32_t r = 0; r < 3; ++r) {
    const SavePlan plan = expand(global.plans[static_cast<std::size_t>(r)], Rank{r});
    ASSERT_EQ(plan.items.size(), 1u);
    rows.push_back(plan.items[0].chunk.size[0]);
  }
  EXPECT_EQ(rows, (std::vector<std::int64_t>{320, 336, 344}));
}

TEST(RulePlan, SharesTheRunsOfZeroAmongReplicas) {
  MeshLayout rule = over({2, 2}, {Replicate{}, Replicate{}});
  rule.flat = FlatCut{{1}, 0, 500'000, 1};
  const LayoutItem item = ruled("exp_avg", {1000, 1000}, rule);
  const LayoutItem* items[] = {&item};
  const MeshLayout writer = writer_layouts(items, DedupPolicy::least_bytes)[0];
  EXPECT_EQ(to_string(writer), "mesh(2x2 from 0) [replicate,replicate] flat(axes 1 at 0 by 500000, then axes 0 in 17000s)");
  EXPECT_EQ(to_string(writer_layouts(items, DedupPolicy::lowest_rank)[0]),
            "mesh(1x2 from 0) [replicate,replicate] flat(axes 1 at 0 by 500000)");
}

TEST(RulePlan, BalancesLinesThatSplitTheirParts) {
  std::vector<LayoutItem> items;
  for (int layer = 0; layer < 4; ++layer) {
    items.push_back(ruled(fmt::format("layers.{}.norm", layer), {4096}, over({16, 4}, {Replicate{}, Replicate{}})));
    items.push_back(ruled(fmt::format("layers.{}.wq", layer), {8192, 4096}, over({16, 4}, {Replicate{}, Shard{0}}), DType::bf16));
    items.push_back(ruled(fmt::format("layers.{}.wv", layer), {4096, 8192}, over({16, 4}, {Replicate{}, Shard{1}}), DType::bf16));
  }
  const auto local = all_list(64, items);
  const SavePlanCheck check = check_save_plan(global_save_plan(local).value(), local);
  EXPECT_FALSE(any_error(check.findings));
  EXPECT_LT(check.imbalance, 1.09);
}

TEST(RulePlan, CountsRulesWhenItSpreadsWhatIsListedByBoxes) {
  // Rank 0 writes the ruled tensor alone, so the byte value goes to rank 1.
  const std::vector<LayoutItem> items = {ruled("w", {4}, over({1}, {Replicate{}}))};
  std::vector<SavePlan> local = all_list(2, items);
  for (SavePlan& plan : local) plan.items.push_back(bytes_item("trainer", 3));
  const GlobalSavePlan global = global_save_plan(local).value();
  EXPECT_EQ(names(global.plans[0]), "");
  EXPECT_EQ(names(global.plans[1]), "trainer");
}

TEST(RulePlan, PlansTiedWeightsOfTwoStagesBoxByBox) {
  // The first and the last stage hold the same tensor, each by a rule over its own ranks.
  std::vector<SavePlan> local = {
      table_of({ruled("embedding", {8}, over({2}, {Shard{0}}, 0))}), table_of({ruled("embedding", {8}, over({2}, {Shard{0}}, 0))}),
      table_of({ruled("embedding", {8}, over({2}, {Shard{0}}, 2))}), table_of({ruled("embedding", {8}, over({2}, {Shard{0}}, 2))})};
  const GlobalSavePlan global = global_save_plan(local).value();
  EXPECT_EQ(names(global.plans[0]) + names(global.plans[2]), "embedding@[0]");
  EXPECT_EQ(names(global.plans[1]) + names(global.plans[3]), "embedding@[4]");
  EXPECT_FALSE(any_error(check_save_plan(global, local).findings));
}

TEST(RulePlan, TakesAnAnnouncementOfARankOutsideTheMesh) {
  const LayoutItem item = ruled("w", {8}, over({2}, {Shard{0}}));
  WriteItem announcement = shard_item("w", {{0}, {0}}, {8});
  announcement.index.hint.reset();
  const GlobalSavePlan global = global_save_plan({table_of({item}), table_of({item}), plan_of({announcement})}).value();
  EXPECT_TRUE(std::get<TensorMetadata>(global.metadata.entries.at("w")).chunks.mesh());
  announcement.dtype = DType::i32;
  EXPECT_EQ(refusal({table_of({item}), table_of({item}), plan_of({announcement})}),
            "plan save: \"w\": the dtype differs between ranks: F32 on rank 0, I32 on rank 2");
}

TEST(RulePlan, NamesTheRanksOfTheMeshThatDoNotListATensor) {
  const LayoutItem item = ruled("w", {8}, over({2, 3}, {Shard{0}, Replicate{}}));
  std::vector<SavePlan> local = all_list(6, {item});
  local[4] = {};
  EXPECT_EQ(refusal(local), "plan save: \"w\": laid out over mesh(2x3 from 0), but rank 4 does not list it");
  local[1] = local[2] = {};
  EXPECT_EQ(refusal(local), "plan save: \"w\": laid out over mesh(2x3 from 0), but ranks 1-2,4 do not list it");
}

TEST(RulePlan, NamesRanksThatDisagree) {
  const MeshLayout rule = over({4}, {Shard{0}});
  std::vector<SavePlan> local = all_list(4, {ruled("w", {8}, rule)});
  local[2] = table_of({ruled("w", {8}, rule, DType::bf16)});
  EXPECT_EQ(refusal(local), "plan save: \"w\": the dtype differs between ranks: F32 on rank 0, BF16 on rank 2");
  local[2] = local[3] = table_of({ruled("w", {9}, rule)});
  EXPECT_EQ(refusal(local), "plan save: \"w\": the shape differs between ranks: [8] on rank 0, [9] on rank 2 (2 ranks differ from rank 0)");
  local[3] = plan_of({bytes_item("w", 1)});
  local[2] = local[0];
  EXPECT_EQ(refusal(local), "plan save: \"w\": the kind differs between ranks: a tensor on rank 0, a byte value on rank 3");
}

TEST(RulePlan, RefusesARuleThatDoesNotFitTheJob) {
  EXPECT_EQ(refusal(all_list(3, {ruled("w", {8}, over({4}, {Shard{0}}))})),
            "plan save: \"w\" on rank 0: mesh(4 from 0): the job has 3 ranks");
  EXPECT_EQ(refusal(all_list(4, {ruled("w", {8}, over({4}, {Shard{1}}))})),
            "plan save: \"w\" on rank 0: mesh(4 from 0) [shard(1)]: placement 0 of a tensor of shape [8]: there is no dimension 1");
}

TEST(RulePlan, RefusesATableOutOfOrder) {
  const MeshLayout rule = over({1}, {Shard{0}});
  EXPECT_EQ(refusal(all_list(1, {ruled("b", {8}, rule), ruled("a", {8}, rule)})),
            "plan save: \"a\" on rank 0: listed after \"b\", not in name order");
}

TEST(RulePlan, KeepsOneItemOfATensorWithoutElements) {
  const GlobalSavePlan global = global_save_plan(all_list(4, {ruled("w", {0, 3}, over({2, 2}, {Replicate{}, Shard{0}}))})).value();
  EXPECT_EQ(writes(global, 0), "w@[0,0]");
  for (std::int32_t r = 1; r < 4; ++r) EXPECT_EQ(writes(global, r), "");
}

TEST(Validate, ProvesRulesFromTheRule) {
  const auto text = [](const std::vector<SavePlan>& plans) {
    const Status status = validate(plans);
    return status ? "sound" : status.error().message;
  };
  EXPECT_EQ(text(all_list(2, {ruled("w", {8}, over({2}, {Shard{0}}))})), "sound");
  EXPECT_EQ(text(all_list(2, {ruled("w", {8}, over({2}, {Replicate{}}))})),
            "validate save plan: \"w\": mesh(2 from 0) [replicate]: ranks would write the same");
  EXPECT_EQ(text(all_list(1, {ruled("w", {8}, over({1}, {Replicate{}}))})), "sound");

  const auto of_metadata = [](const Dims& shape, const ChunkSet& chunks) {
    Metadata metadata;
    metadata.entries["w"] = TensorMetadata{DType::f32, shape, chunks};
    const Status status = validate(metadata);
    return status ? "sound" : status.error().message;
  };
  EXPECT_EQ(of_metadata({8}, ChunkSet(over({2}, {Shard{0}}), {8})), "sound");
  EXPECT_EQ(of_metadata({9}, ChunkSet(over({2}, {Shard{0}}), {8})),
            "validate metadata: \"w\": its chunks are laid out for shape [8], it has [9]");
  EXPECT_EQ(of_metadata({8}, ChunkSet(over({2}, {Replicate{}}), {8})),
            "validate metadata: \"w\": mesh(2 from 0) [replicate]: an element would be there more than once");
}

TEST(Pieces, SplitsAReplicatedTensorWhereThatLowersTheMaximum) {
  // 8 MiB that 4 ranks hold, next to 1 MiB that each has alone: 3 MiB a rank.
  std::vector<SavePlan> local;
  for (std::int64_t r = 0; r < 4; ++r) {
    local.push_back(plan_of({whole_item("all", {2048, 1024}), shard_item("own", {{r * 262144}, {262144}}, {4 * 262144})}));
  }
  const GlobalSavePlan global = global_save_plan(local).value();
  for (std::size_t r = 0; r < 4; ++r) EXPECT_EQ(names(global.plans[r]), fmt::format("all@[{},0] own@[{}]", r * 512, r * 262144));
  EXPECT_EQ(global.plans[1].items[0].type, WriteItemType::shard);
  const SavePlanCheck check = check_save_plan(global, local);
  EXPECT_TRUE(check.findings.empty());
  EXPECT_EQ(check.imbalance, 1);
}

TEST(Pieces, LeavesATensorWholeThatIsBelowTheFullestRank) {
  const SavePlan heavy = plan_of({whole_item("all", {1024, 1024}), shard_item("own", {{0}, {8 << 20}}, {8 << 20})});
  const GlobalSavePlan global = global_save_plan({heavy, plan_of({whole_item("all", {1024, 1024})})}).value();
  EXPECT_EQ(names(global.plans[1]), "all@[0,0]");
  EXPECT_EQ(global.plans[1].items[0].type, WriteItemType::tensor);
}

TEST(Pieces, NeverSplitsBelow2MiB) {
  const SavePlan local = plan_of({whole_item("all", {1023, 512})});
  const GlobalSavePlan global = global_save_plan({local, local}).value();
  EXPECT_EQ(names(global.plans[0]), "all@[0,0]");
  EXPECT_EQ(names(global.plans[1]), "");
}

TEST(FindMemory, GivesTheMemoryOfABoxInsideAShard) {
  StateDict state;
  std::vector<float> memory(64);
  TensorEntry entry{DType::f32, {16, 8}, true, {}};
  entry.shards.push_back({{{8, 0}, {8, 8}}, packed_block(reinterpret_cast<std::byte*>(memory.data()), {8, 8}, 4)});
  ASSERT_TRUE(state.add("w", std::move(entry)));
  ASSERT_TRUE(state.add_bytes("b", {}));
  const StridedBlock found = find_memory(state, shard_item("w", {{10, 2}, {3, 4}}, {16, 8})).value();
  EXPECT_EQ(found.data, reinterpret_cast<std::byte*>(memory.data() + 2 * 8 + 2));
  EXPECT_EQ(found.sizes, (Dims{3, 4}));
  EXPECT_EQ(found.strides_bytes, (Dims{32, 4}));
  EXPECT_EQ(find_memory(state, shard_item("w", {{7, 0}, {2, 8}}, {16, 8})).error().message,
            "Could not find shard with '[7,0]+[2,8]' for FQN: 'w'");
  EXPECT_EQ(find_memory(state, shard_item("v", {{7, 0}, {2, 8}}, {16, 8})).error().message, "Could not find FQN: 'v'");
  EXPECT_EQ(find_memory(state, shard_item("b", {{7}, {2}}, {16})).error().message, "FQN: 'b' is a byte value, not a tensor");
  EXPECT_EQ(find_memory(state, shard_item("w", {{7}, {2}}, {16})).error().message, "FQN: 'w': [7]+[2] of a tensor of shape [16,8]");
}

/// Every odd thing a table may hold.
std::vector<LayoutItem> odd_table() {
  MeshLayout flat = over({2, 3}, {Replicate{}, Replicate{}}, 5);
  flat.flat = FlatCut{{1}, 7, 1000, 4, {0}, 9};
  MeshLayout fused = over({4}, {Segments{1, {100, 20, 20}}});
  fused.mesh.axes[0].stride = 8;
  std::vector<LayoutItem> table = {ruled("", {}, {}), ruled("layers.0.wq", {8, 8}, over({2, 2}, {StridedShard{0, 2}, Shard{0}}))};
  for (int i = 0; i < 3; ++i) table.push_back(ruled(fmt::format("layers.1.{}", i), {8, 140}, fused, DType::bf16));
  for (int i = 0; i < 3; ++i) table.push_back(ruled(fmt::format("layers.2.{}", i), {1000}, flat));
  table.push_back(ruled("x" + std::string(300, 'x'), Dims(40, 1), over({2}, {Replicate{}})));
  table.push_back(ruled("x" + std::string(300, 'x') + "y", Dims(40, 1), over({2}, {Replicate{}})));
  return table;
}

TEST(LayoutTable, GivesBackEveryOddTable) {
  const Bytes bytes = encode_table(odd_table());
  EXPECT_EQ(decode_table(bytes).value(), odd_table());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto cut = decode_table(ByteView(bytes).first(length));
    ASSERT_FALSE(cut);
    ASSERT_EQ(cut.error().code, ErrorCode::corrupt);
  }
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      Bytes changed = bytes;
      changed[at] ^= static_cast<std::byte>(change);
      const auto table = decode_table(changed);
      ASSERT_TRUE(table || table.error().code == ErrorCode::corrupt);
    }
  }
}

TEST(LayoutTable, RefusesNamesOutOfOrder) {
  const Bytes bytes = encode_table({ruled("b", {}, {}), ruled("a", {}, {})});
  EXPECT_EQ(decode_table(bytes).error().message, "decode layouts: \"a\" after \"b\": not in name order");
}

TEST(LayoutTable, SpendsFewBytesOnATensor) {
  std::vector<LayoutItem> table;
  for (int layer = 10; layer < 99; ++layer) {
    for (const char* name : {"down_proj", "gate_proj", "up_proj"}) {
      table.push_back(
          ruled(fmt::format("model.layers.{}.mlp.{}.weight", layer, name), {53248, 16384}, over({128, 8}, {Replicate{}, Shard{0}})));
    }
  }
  EXPECT_LT(encode_table(table).size(), 8 * table.size());
}

TEST(LayoutTable, TellsWhatChanged) {
  const std::vector<LayoutItem> local = odd_table();
  std::vector<LayoutItem> global = local;
  global.erase(global.begin() + 2);
  global[1].layout.flat = FlatCut{{}, 0, 64, 1};
  global.back().layout.mesh.axes[0].size = 1;
  const auto changes = encode_changes(local, global);
  ASSERT_TRUE(changes);
  EXPECT_EQ(apply_changes(local, *changes).value(), global);
  for (std::size_t length = 0; length < changes->size(); ++length) EXPECT_FALSE(apply_changes(local, ByteView(*changes).first(length)));
  global[0].dtype = DType::u8;
  EXPECT_FALSE(encode_changes(local, global));
  EXPECT_FALSE(encode_changes({local[0]}, {local[1]}));
}

TEST(PlanCodec, DecodesEqualPlansAndTablesOnce) {
  const SavePlan plan = table_of({ruled("w", {8}, over({2}, {Shard{0}}))});
  SavePlan other = plan;
  other.items.push_back(bytes_item("rng", 5));
  std::vector<Bytes> messages;
  for (const SavePlan& sent : {plan, plan, other}) {
    Encoder out;
    encode(out, sent);
    messages.push_back(out.take());
  }
  const std::vector<ByteView> views(messages.begin(), messages.end());
  const std::vector<SavePlan> plans = decode_save_plans(views).value();
  EXPECT_EQ(plans, (std::vector<SavePlan>{plan, plan, other}));
  EXPECT_EQ(plans[0].layouts.get(), plans[1].layouts.get());
  EXPECT_EQ(plans[0].layouts.get(), plans[2].layouts.get());
  messages[1].pop_back();
  const std::vector<ByteView> broken(messages.begin(), messages.end());
  const auto refused = decode_save_plans(broken);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().message.starts_with("save plan of rank 1: decode save plan: ")) << refused.error().message;
}

TEST(PlanCodec, SharesEqualRepliesAndTellsTheLayouts) {
  std::vector<SavePlan> local(100, table_of({ruled("w", {8, 8}, over({100}, {Replicate{}}))}));
  for (SavePlan& plan : local) plan.items.push_back(bytes_item("trainer", 3));
  const GlobalSavePlan global = global_save_plan(local).value();
  const std::vector<SharedBytes> replies = encode_replies(local, global.plans);
  EXPECT_NE(replies[0].view().data(), replies[1].view().data());
  EXPECT_LT(replies[1].size(), 30u);
  for (std::size_t r = 2; r < 100; ++r) EXPECT_EQ(replies[r].view().data(), replies[1].view().data());
  for (std::size_t r = 0; r < 100; ++r) {
    Decoder in(replies[r].view(), "reply");
    EXPECT_EQ(apply_kept(local[r], in).value(), global.plans[r]);
  }
  Decoder stray(replies[0].view(), "reply");
  const auto refused = apply_kept(plan_of({bytes_item("trainer", 3)}), stray);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "decode kept plan: it keeps layouts that the rank did not list");
}

}  // namespace
}  // namespace holdfast::plan
