#include "impl/core/state_dict.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

const ChunkLayout two_chunks_on_rank_0{0, {Rank{0}, Rank{1}, Rank{0}}};

TEST(StateDict, LaysLocalChunksOutOneAfterTheOther) {
  StateDict state;
  Bytes memory(*local_bytes(DType::f32, {7, 2}, two_chunks_on_rank_0, Rank{0}));
  EXPECT_EQ(memory.size(), 32u);
  ASSERT_TRUE(state.add("w", memory.data(), DType::f32, {7, 2}, two_chunks_on_rank_0, Rank{0}));
  const auto& entry = std::get<TensorEntry>(*state.find("w"));
  EXPECT_TRUE(entry.sharded);
  ASSERT_EQ(entry.shards.size(), 2u);
  EXPECT_EQ(entry.shards[0].box, (Box{{0, 0}, {3, 2}}));
  EXPECT_EQ(entry.shards[1].box, (Box{{6, 0}, {1, 2}}));
  EXPECT_EQ(entry.shards[1].memory.data, memory.data() + 24);
}

TEST(StateDict, KeepsNamesInOrderAndOnce) {
  StateDict state;
  ASSERT_TRUE(state.add_bytes("b", {}));
  ASSERT_TRUE(state.add_bytes("a", {}));
  EXPECT_EQ(state.entries().begin()->first, "a");
  EXPECT_EQ(state.add_bytes("a", {}).error().message, R"(state dict: the key "a" is there already)");
  EXPECT_EQ(state.find("c"), nullptr);
}

TEST(StateDict, SaysWhatDoesNotFit) {
  StateDict state;
  std::byte memory[64];
  EXPECT_EQ(state.add("w", memory, DType::f32, {4}, ChunkLayout{1, {Rank{0}}}, Rank{0}).error().message,
            R"(state dict: tensor "w": chunk layout: dimension 1 of a tensor of shape [4])");
  const auto add = [&](TensorEntry entry) { return state.add("w", std::move(entry)).error().message; };
  EXPECT_EQ(add({DType::f32, {4}, true, {{{{2}, {3}}, packed_block(memory, {3}, 4)}}}),
            R"(state dict: tensor "w": box [2]+[3] outside shape [4])");
  EXPECT_EQ(add({DType::f32, {4}, true, {{{{2}, {2}}, packed_block(memory, {2}, 2)}}}),
            R"(state dict: tensor "w": memory of sizes [2] and 2-byte elements for box [2]+[2] of F32)");
  EXPECT_EQ(add({DType::f32, {4}, false, {{{{2}, {2}}, packed_block(memory, {2}, 4)}}}),
            R"(state dict: tensor "w" is not sharded, but the rank does not hold exactly the whole of it)");
  EXPECT_EQ(state.entries().size(), 0u);
}

}  // namespace
}  // namespace holdfast
