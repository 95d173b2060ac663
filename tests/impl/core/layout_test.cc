#include "impl/core/layout.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

ChunkLayout over(int dim, std::vector<int> ranks) {
  ChunkLayout layout{dim, {}};
  for (const int rank : ranks) layout.placements.push_back(Rank{rank});
  return layout;
}

TEST(Layout, ChunksTileTheDimensionAsTorchChunkDoes) {
  for (std::int64_t extent = 0; extent <= 20; ++extent) {
    for (std::int64_t chunks = 1; chunks <= 8; ++chunks) {
      const ChunkSplit split = chunk_split(extent, chunks);
      std::int64_t next = 0;
      for (std::int64_t i = 0; i < chunks; ++i) {
        EXPECT_EQ(split.begin(i), next);
        EXPECT_EQ(split.size(i), std::min(split.split, extent - next));
        next += split.size(i);
      }
      EXPECT_EQ(next, extent);
      EXPECT_EQ(split.split, extent == 0 ? 0 : (extent - 1) / chunks + 1);
    }
  }
}

TEST(Layout, ARankHoldsTheChunksThatNameIt) {
  EXPECT_EQ(local_boxes(over(0, {0, 1, 0}), {7, 2}, Rank{0}), (std::vector<Box>{{{0, 0}, {3, 2}}, {{6, 0}, {1, 2}}}));
  EXPECT_EQ(local_boxes(over(1, {1, 0}), {4, 3}, Rank{0}), (std::vector<Box>{{{0, 2}, {4, 1}}}));
  EXPECT_EQ(local_boxes(over(0, {1}), {7}, Rank{0}), std::vector<Box>{});
  EXPECT_EQ(local_boxes(over(0, {0, 1, 2, 3}), {2}, Rank{3}), (std::vector<Box>{{{2}, {0}}}))
      << "an empty chunk lies at the end, in bounds";
  EXPECT_EQ(local_boxes(ReplicatedLayout{}, {2, 3}, Rank{9}), (std::vector<Box>{whole({2, 3})}));
}

TEST(Layout, SaysWhatDoesNotFit) {
  EXPECT_EQ(local_boxes(over(2, {0}), {4, 4}, Rank{0}).error().message, "chunk layout: dimension 2 of a tensor of shape [4,4]");
  EXPECT_EQ(local_boxes(over(-1, {0}), {4}, Rank{0}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(local_boxes(over(0, {}), {4}, Rank{0}).error().message, "chunk layout: no placements");
  EXPECT_FALSE(local_boxes(over(0, {0}), {-4}, Rank{0}));
  EXPECT_EQ(to_string(Layout(over(0, {0, 1}))), "chunk(dim 0 over ranks 0,1)");
}

}  // namespace
}  // namespace holdfast
