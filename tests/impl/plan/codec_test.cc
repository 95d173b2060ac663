#include "impl/plan/codec.h"

#include <gtest/gtest.h>

#include "tests/impl/plan/plan_testing.h"

namespace holdfast::plan {
namespace {

std::vector<std::optional<std::uint32_t>> hints(const SavePlan& plan) {
  std::vector<std::optional<std::uint32_t>> all;
  for (const WriteItem& item : plan.items) all.push_back(item.index.hint);
  return all;
}

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

/// Every odd thing an item may be: repeated and long names, no hint, no offset, offsets that are not the chunk's, odd dimensions.
SavePlan odd_save_plan() {
  SavePlan plan =
      plan_of({shard_item("layers.0.wq", {{0, 0}, {2, 8}}, {4, 8}), shard_item("layers.0.wq", {{2, 0}, {2, 8}}, {4, 8}),
               shard_item("layers.1.wq", {{2, 0}, {2, 8}}, {4, 8}), shard_item("layers.1.wq", {{2, 0}, {2, 8}}, {4, 8}, DType::bf16),
               whole_item("step", {}, DType::i64), bytes_item("trainer", 1'000'000'000'000), bytes_item("trainer", 0),
               whole_item(std::string(400, 'x'), {1}), whole_item(std::string(400, 'x'), {1}), whole_item("", {0, 3})});
  plan.items[5].digest = {0x0123456789abcdef, ~std::uint64_t{0}};
  plan.items[1].index.hint = 4'000'000'000;
  plan.items[2].index.hint.reset();
  plan.items[3].index.offset = Dims{1, 1, 1};
  plan.items[4].index.offset.reset();
  WriteItem odd = whole_item("odd", {-3, std::int64_t{1} << 62});
  odd.chunk = {{1}, {2, 3, 4}};
  plan.items.push_back(odd);
  plan.storage_data = bytes_of({1, 2, 3});
  plan.planner_data = bytes_of({4});
  return plan;
}

LoadPlan odd_load_plan() {
  LoadPlan plan;
  const ReadItem tensor{ReadItemType::tensor, {"w", Dims{4, 0}, 1}, {0, 1}, {"w", Dims{2, 0}, 7}, {2, 1}, {2, 3}};
  ReadItem renamed = tensor;
  renamed.storage_index = {"old.w", Dims{2}, {}};
  ReadItem bytes;
  bytes.dest_index.fqn = bytes.storage_index.fqn = "trainer";
  ReadItem scalar{ReadItemType::tensor, {"step", Dims{}, 0}, {}, {"step", Dims{}, 0}, {}, {}};
  plan.items = {tensor, tensor, renamed, bytes, scalar};
  plan.planner_data = bytes_of({9});
  return plan;
}

std::vector<WriteResult> odd_results() {
  return {{{"w", Dims{0, 4}, 3}, 12, bytes_of({1})}, {{"w", Dims{2, 4}, {}}, 0, {}}, {{"trainer", {}, {}}, 1u << 31, bytes_of({1, 2})}};
}

/// Any prefix and any change of one byte gives a value or `corrupt`, never anything else.
template <typename Decode>
void expect_total(const Bytes& bytes, Decode&& decode) {
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    Decoder in(ByteView(bytes).first(length), "cut");
    const auto value = decode(in);
    ASSERT_FALSE(value) << length;
    ASSERT_EQ(value.error().code, ErrorCode::corrupt);
  }
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      Bytes changed = bytes;
      changed[at] ^= static_cast<std::byte>(change);
      Decoder in(changed, "changed");
      const auto value = decode(in);
      ASSERT_TRUE(value || value.error().code == ErrorCode::corrupt);
    }
  }
}

TEST(PlanCodec, GivesASavePlanBackHintsIncluded) {
  Encoder out;
  encode(out, odd_save_plan());
  Decoder in(out.bytes(), "plan");
  const SavePlan plan = decode_save_plan(in).value();
  EXPECT_TRUE(in.finish());
  EXPECT_EQ(plan, odd_save_plan());
  EXPECT_EQ(hints(plan), hints(odd_save_plan()));
}

TEST(PlanCodec, GivesALoadPlanBackHintsIncluded) {
  Encoder out;
  encode(out, odd_load_plan());
  Decoder in(out.bytes(), "plan");
  const LoadPlan plan = decode_load_plan(in).value();
  EXPECT_TRUE(in.finish());
  EXPECT_EQ(plan, odd_load_plan());
  EXPECT_EQ(plan.items[0].dest_index.hint, 1u);
  EXPECT_EQ(plan.items[0].storage_index.hint, 7u);
  EXPECT_EQ(plan.items[2].storage_index.hint, std::nullopt);
}

TEST(PlanCodec, GivesWriteResultsBackHintsIncluded) {
  Encoder out;
  encode(out, odd_results());
  Decoder in(out.bytes(), "results");
  const auto results = decode_write_results(in).value();
  EXPECT_TRUE(in.finish());
  EXPECT_EQ(results, odd_results());
  EXPECT_EQ(results[0].index.hint, 3u);
}

TEST(PlanCodec, IsTotal) {
  Encoder save;
  encode(save, odd_save_plan());
  expect_total(save.bytes(), [](Decoder& in) { return decode_save_plan(in); });
  Encoder load;
  encode(load, odd_load_plan());
  expect_total(load.bytes(), [](Decoder& in) { return decode_load_plan(in); });
  Encoder results;
  encode(results, odd_results());
  expect_total(results.bytes(), [](Decoder& in) { return decode_write_results(in); });
}

TEST(PlanCodec, SpendsFewBytesOnAUsualItem) {
  std::vector<WriteItem> items;
  for (int layer = 0; layer < 100; ++layer) {
    for (std::int64_t part = 0; part < 2; ++part) {
      const std::string name = fmt::format("model.layers.{}.self_attn.q_proj.weight", layer);
      items.push_back(shard_item(name, {{part * 4096, 0}, {64, 4096}}, {8192, 4096}));
    }
  }
  Encoder out;
  encode(out, plan_of(items));
  EXPECT_LT(out.size() / items.size(), 30u);
}

TEST(PlanCodec, KeepsAllInOneByte) {
  const SavePlan local = plan_of({whole_item("a", {4}), whole_item("b", {4})});
  Encoder out;
  encode_kept(out, local, local);
  EXPECT_EQ(out.bytes(), bytes_of({0}));
}

TEST(PlanCodec, GivesBackEverySubsetOfALocalPlan) {
  SavePlan local;
  for (int i = 0; i < 8; ++i) local.items.push_back(shard_item("w", {{i}, {1}}, {8}));
  for (unsigned subset = 0; subset < 256; ++subset) {
    SavePlan global;
    for (unsigned i = 0; i < 8; ++i) {
      if (subset >> i & 1) global.items.push_back(local.items[i]);
    }
    Encoder out;
    encode_kept(out, local, global);
    EXPECT_LE(out.size(), 10u);
    Decoder in(out.bytes(), "kept");
    EXPECT_EQ(apply_kept(local, in).value(), global);
    EXPECT_TRUE(in.finish());
  }
}

TEST(PlanCodec, SendsTheWholePlanWhenAPlannerMadeItAnew) {
  const SavePlan local = plan_of({whole_item("a", {4}), whole_item("b", {4})});
  SavePlan reordered = plan_of({local.items[1], local.items[0]});
  SavePlan split = plan_of({shard_item("a", {{0}, {2}}, {4}), shard_item("a", {{2}, {2}}, {4})});
  SavePlan other_hint = local;
  other_hint.items[0].index.hint = 5;
  for (const SavePlan& global : {reordered, split, other_hint}) {
    Encoder out;
    encode_kept(out, local, global);
    Decoder in(out.bytes(), "kept");
    const SavePlan applied = apply_kept(local, in).value();
    EXPECT_EQ(applied, global);
    EXPECT_EQ(hints(applied), hints(global));
  }
}

TEST(PlanCodec, CarriesTheDataOfAReply) {
  const std::vector<Bytes> values = {{}, bytes_of({1}), bytes_of({2, 3})};
  for (const Bytes& local_data : values) {
    for (const Bytes& storage : values) {
      for (const Bytes& planner : values) {
        SavePlan local = plan_of({whole_item("a", {4})});
        local.storage_data = local.planner_data = local_data;
        SavePlan global = local;
        global.storage_data = storage;
        global.planner_data = planner;
        Encoder out;
        encode_kept(out, local, global);
        Decoder in(out.bytes(), "kept");
        EXPECT_EQ(apply_kept(local, in).value(), global);
        EXPECT_TRUE(in.finish());
      }
    }
  }
}

TEST(PlanCodec, RefusesARangeBeyondTheLocalPlan) {
  const SavePlan local = plan_of({whole_item("a", {4}), whole_item("b", {4})});
  for (const Bytes& bytes :
       {bytes_of({1, 1, 0, 3}), bytes_of({1, 1, 3, 0}), bytes_of({1, 2, 0, 2, 1, 1}), bytes_of({3}), bytes_of({64}), bytes_of({12})}) {
    Decoder in(bytes, "kept");
    const auto applied = apply_kept(local, in);
    ASSERT_FALSE(applied);
    EXPECT_EQ(applied.error().code, ErrorCode::corrupt);
  }
}

TEST(PlanCodec, DoesNotUnfoldAShortMessageIntoALongPlan) {
  // A name of 1 MiB repeated a million times would take a terabyte.
  std::vector<WriteItem> items(3, bytes_item(std::string(1 << 20, 'x'), 0));
  Encoder out;
  encode(out, plan_of(items));
  EXPECT_GT(out.size(), 2u << 20);
}

}  // namespace
}  // namespace holdfast::plan
