#include "model/global_state.h"

#include <gtest/gtest.h>

#include <numeric>

#include "model/expected_metadata.h"

namespace holdfast::model {
namespace {

GlobalTensor numbered(const Dims& shape) {
  GlobalTensor tensor{DType::u8, shape, {}};
  const std::int64_t elements = whole(shape).volume();
  for (std::int64_t i = 0; i < elements; ++i) tensor.bytes.push_back(static_cast<std::byte>(i));
  return tensor;
}

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

ChunkLayout over_ranks(int dim, std::initializer_list<int> ranks) {
  ChunkLayout layout{dim, {}};
  for (const int rank : ranks) layout.placements.push_back(Rank{rank});
  return layout;
}

TEST(Model, CutsABoxRowByRow) {
  EXPECT_EQ(cut(numbered({3, 4}), Box{{1, 1}, {2, 2}}), bytes_of({5, 6, 9, 10}));
  EXPECT_EQ(cut(numbered({}), whole({})), bytes_of({0}));
  EXPECT_EQ(cut(numbered({3, 4}), Box{{3, 0}, {0, 4}}), Bytes{});
}

TEST(Model, KeepsElementsOfSeveralBytesTogether) {
  const GlobalTensor tensor{DType::u16, {3}, bytes_of({1, 2, 3, 4, 5, 6})};
  EXPECT_EQ(cut(tensor, Box{{1}, {2}}), bytes_of({3, 4, 5, 6}));
}

TEST(Model, CutsAsTorchChunkDoes) {
  const auto sizes = [](std::int64_t extent, int chunks) {
    std::vector<std::pair<std::int64_t, std::int64_t>> all;
    for (int i = 0; i < chunks; ++i) {
      ChunkLayout layout{0, std::vector<Rank>(static_cast<std::size_t>(chunks), Rank{9})};
      layout.placements[static_cast<std::size_t>(i)] = Rank{0};
      const Box box = boxes_of(layout, {extent}, Rank{0}).at(0);
      all.emplace_back(box.offset[0], box.size[0]);
    }
    return all;
  };
  using Cuts = std::vector<std::pair<std::int64_t, std::int64_t>>;
  EXPECT_EQ(sizes(10, 4), (Cuts{{0, 3}, {3, 3}, {6, 3}, {9, 1}}));
  EXPECT_EQ(sizes(5, 4), (Cuts{{0, 2}, {2, 2}, {4, 1}, {5, 0}}));
  EXPECT_EQ(sizes(4, 3), (Cuts{{0, 2}, {2, 2}, {4, 0}}));
  EXPECT_EQ(sizes(6, 4), (Cuts{{0, 2}, {2, 2}, {4, 2}, {6, 0}}));
  EXPECT_EQ(sizes(0, 2), (Cuts{{0, 0}, {0, 0}}));
}

TEST(Model, AgreesWithTheLayoutRuleForEverySmallLayout) {
  for (std::int64_t extent = 0; extent <= 12; ++extent) {
    for (std::size_t chunks = 1; chunks <= 6; ++chunks) {
      for (int dim = 0; dim < 2; ++dim) {
        ChunkLayout layout{dim, {}};
        for (std::size_t i = 0; i < chunks; ++i) layout.placements.push_back(Rank{static_cast<std::int32_t>(i % 3)});
        for (std::int32_t rank = 0; rank < 4; ++rank) {
          const Dims shape = {extent, 13 - extent};
          EXPECT_EQ(boxes_of(layout, shape, Rank{rank}), local_boxes(layout, shape, Rank{rank}).value());
        }
      }
    }
  }
}

TEST(Model, GathersWhatItCutAndReshardsIt) {
  GlobalState state;
  state["w"] = numbered({5, 2});
  state["plain"] = numbered({3});
  state["b"] = bytes_of({9});
  const Layouts rows = {{"w", over_ranks(0, {0, 1, 0, 2})}};
  const Layouts columns = {{"w", over_ranks(1, {2, 1})}};
  std::vector<LocalState> ranks;
  for (int rank = 0; rank < 3; ++rank) ranks.push_back(cut(state, rows, Rank{rank}));
  EXPECT_EQ(gather(ranks).value(), state);
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(reshard(ranks, columns, Rank{rank}).value(), cut(state, columns, Rank{rank}));
  EXPECT_EQ(std::get<LocalTensor>(reshard(ranks, columns, Rank{1}).value().at("w")).boxes.at(0).bytes, bytes_of({1, 3, 5, 7, 9}));
}

TEST(Model, DoesNotGatherWhatIsMissingOrContradictory) {
  GlobalState state;
  state["w"] = numbered({4});
  const Layouts layouts = {{"w", over_ranks(0, {0, 1})}};
  std::vector<LocalState> ranks = {cut(state, layouts, Rank{0})};
  EXPECT_EQ(gather(ranks).error().message, "gather \"w\": an element is held by nobody");
  ranks = {cut(state, {}, Rank{0}), inverted(cut(state, layouts, Rank{1}))};
  EXPECT_EQ(gather(ranks).error().message, "gather \"w\": two values for element [3]");
  ranks[1]["w"] = Bytes{};
  EXPECT_FALSE(gather(ranks));
}

TEST(Model, BindsAStateDictToItsMemory) {
  GlobalState state;
  state["w"] = numbered({4});
  state["b"] = bytes_of({9});
  LocalState local = cut(state, {{"w", over_ranks(0, {1, 0})}}, Rank{0});
  const StateDict dict = state_dict_over(local).value();
  const auto& tensor = std::get<TensorEntry>(*dict.find("w"));
  EXPECT_TRUE(tensor.sharded);
  ASSERT_EQ(tensor.shards.size(), 1u);
  EXPECT_EQ(tensor.shards[0].box, (Box{{2}, {2}}));
  EXPECT_EQ(tensor.shards[0].memory.data[1], std::byte{3});
  EXPECT_EQ(std::get<BytesEntry>(*dict.find("b")).value, bytes_of({9}));
}

TEST(Model, ExpectsTheDefaultMetadataOfPyTorchsTest) {
  GlobalState state;
  state["bytes"] = bytes_of({1, 2, 3, 4});
  state["replicated"] = numbered({10, 10});
  state["sharded"] = numbered({10, 10});
  const auto metadata = expected_metadata(state, {{"sharded", over_ranks(0, {0, 1})}}, 2).value();
  EXPECT_TRUE(std::holds_alternative<BytesMetadata>(metadata.entries.at("bytes")));
  EXPECT_EQ(std::get<TensorMetadata>(metadata.entries.at("replicated")).chunks.size(), 1u);
  const ChunkSet& chunks = std::get<TensorMetadata>(metadata.entries.at("sharded")).chunks;
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks.box(1), (Box{{5, 0}, {5, 10}}));
}

TEST(Model, ExpectsOneChunkOfATensorThatOneRankHolds) {
  GlobalState state;
  state["w"] = numbered({10, 10});
  const auto metadata = expected_metadata(state, {{"w", over_ranks(0, {0})}}, 4).value();
  EXPECT_EQ(std::get<TensorMetadata>(metadata.entries.at("w")).chunks.size(), 1u);
  EXPECT_EQ(expected_metadata(state, {{"w", over_ranks(0, {7})}}, 4), std::nullopt);
}

TEST(Model, ExpectsNoEmptyChunksButOfATensorWithoutElements) {
  GlobalState state;
  state["w"] = numbered({4});
  state["z"] = numbered({2, 0});
  const auto metadata = expected_metadata(state, {{"w", over_ranks(0, {0, 1, 2})}, {"z", over_ranks(0, {0, 1})}}, 3).value();
  EXPECT_EQ(std::get<TensorMetadata>(metadata.entries.at("w")).chunks.size(), 2u);
  const ChunkSet& chunks = std::get<TensorMetadata>(metadata.entries.at("z")).chunks;
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks.box(0), (Box{{0, 0}, {1, 0}}));
}

}  // namespace
}  // namespace holdfast::model
