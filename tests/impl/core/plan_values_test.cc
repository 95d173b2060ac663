#include "impl/core/plan_values.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "impl/core/layout.h"

namespace holdfast {
namespace {

std::vector<Box> even_cut(const Dims& shape, std::size_t dim, std::int64_t count) {
  std::vector<Box> boxes;
  const ChunkSplit split = chunk_split(shape[dim], count);
  for (std::int64_t i = 0; i < count; ++i) {
    Box box = whole(shape);
    box.offset[dim] = split.begin(i);
    box.size[dim] = split.size(i);
    if (!box.empty()) boxes.push_back(box);
  }
  return boxes;
}

TEST(ChunkSet, AnswersAlikeWithAndWithoutARule) {
  for (std::int64_t extent = 1; extent <= 9; ++extent) {
    for (std::int64_t count = 1; count <= extent; ++count) {
      for (std::size_t dim = 0; dim < 2; ++dim) {
        const Dims shape = dim == 0 ? Dims{extent, 3} : Dims{3, extent};
        std::vector<Box> boxes = even_cut(shape, dim, count);
        const std::vector<Box> sorted = boxes;
        std::ranges::reverse(boxes);
        const ChunkSet set(boxes, shape);
        EXPECT_EQ(set.grid() != nullptr, sorted.size() >= 2);
        ASSERT_EQ(set.size(), sorted.size());
        for (std::size_t i = 0; i < sorted.size(); ++i) {
          EXPECT_EQ(set.box(i), sorted[i]);
          EXPECT_EQ(set.find(sorted[i].offset), i);
        }
        EXPECT_EQ(set.find({shape[0], shape[1]}), std::nullopt);
        EXPECT_EQ(set.find({1, 1}), std::nullopt);
        EXPECT_EQ(set.find({0}), std::nullopt);
        for (std::int64_t begin = 0; begin < extent; ++begin) {
          for (std::int64_t size = 0; begin + size <= extent; ++size) {
            Box part = whole(shape);
            part.offset[dim] = begin;
            part.size[dim] = size;
            std::vector<std::size_t> expected;
            for (std::size_t i = 0; i < sorted.size(); ++i) {
              if (intersection(sorted[i], part)) expected.push_back(i);
            }
            EXPECT_EQ(set.intersecting(part), expected) << to_string(part);
          }
        }
      }
    }
  }
}

TEST(ChunkSet, TakesNoRuleWhereThereIsNone) {
  const Dims shape = {4, 4};
  EXPECT_FALSE(ChunkSet({{{0, 0}, {1, 4}}, {{1, 0}, {3, 4}}}, shape).grid()) << "uneven";
  EXPECT_FALSE(ChunkSet({{{0, 0}, {2, 4}}}, shape).grid()) << "one box";
  EXPECT_FALSE(ChunkSet({{{0, 0}, {2, 2}}, {{0, 2}, {2, 2}}}, shape).grid()) << "not the whole";
  EXPECT_FALSE(ChunkSet({{{0, 0}, {2, 4}}, {{2, 0}, {1, 4}}}, shape).grid()) << "a hole at the end";
  EXPECT_FALSE(ChunkSet({{{0, 0}, {4, 4}}, {{4, 0}, {0, 4}}}, shape).grid()) << "an empty chunk";
  EXPECT_FALSE(ChunkSet({{{0, 0}, {2, 4}}, {{0, 0}, {2, 4}}}, shape).grid()) << "twice the same";
  EXPECT_FALSE(ChunkSet({Box{}}, {}).grid()) << "no dimension to cut";
}

TEST(ChunkSet, FindsIrregularChunksByOffset) {
  const ChunkSet set({{{1, 1}, {1, 2}}, {{0, 0}, {1, 3}}, {{1, 0}, {1, 1}}}, {2, 3});
  EXPECT_EQ(set.find({1, 1}), 2u);
  EXPECT_EQ(set.find({1, 2}), std::nullopt);
  EXPECT_EQ(set.intersecting({{0, 0}, {2, 1}}), (std::vector<std::size_t>{0, 1}));
}

TEST(MetadataIndex, TheHintIsNoPartOfItsIdentity) {
  const MetadataIndex a{"w", Dims{0, 0}, 3}, b{"w", Dims{0, 0}, std::nullopt}, c{"w", std::nullopt, 3};
  EXPECT_EQ(a, b);
  EXPECT_FALSE(a < b || b < a);
  EXPECT_FALSE(a == c);
  EXPECT_LT(c, a) << "a byte value comes before chunks";
  EXPECT_EQ(to_string(a), "w@[0,0]");
  EXPECT_EQ(to_string(c), "w");
}

TEST(WriteItem, StoresItsChunkNotTheWholeTensor) {
  WriteItem item{{"w", Dims{2, 0}, {}}, WriteItemType::shard, {{2, 0}, {2, 4}}, DType::bf16, {8, 4}, 0};
  EXPECT_EQ(item.stored_bytes(), 16u);
  item.type = WriteItemType::bytes;
  item.nbytes = 5;
  EXPECT_EQ(item.stored_bytes(), 5u);
}

}  // namespace
}  // namespace holdfast
