#include "impl/plan/tiling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

namespace holdfast::plan {
namespace {

/// Every box with elements in a region of `shape`.
std::vector<Box> all_boxes(const Dims& shape) {
  std::vector<Box> boxes = {Box{}};
  for (const std::int64_t extent : shape) {
    std::vector<Box> longer;
    for (const Box& box : boxes) {
      for (std::int64_t begin = 0; begin < extent; ++begin) {
        for (std::int64_t size = 1; begin + size <= extent; ++size) {
          longer.push_back(box);
          longer.back().offset.push_back(begin);
          longer.back().size.push_back(size);
        }
      }
    }
    boxes = std::move(longer);
  }
  return boxes;
}

std::int64_t covered_elements(const Dims& shape, std::span<const Box> boxes) {
  std::int64_t covered = 0;
  for (std::int64_t x = 0; x < shape[0]; ++x) {
    for (std::int64_t y = 0; y < shape[1]; ++y) {
      covered += std::ranges::any_of(boxes, [&](const Box& box) { return contains(box, Box{{x, y}, {1, 1}}); });
    }
  }
  return covered;
}

void expect_right(const Dims& shape, std::span<const Box> boxes) {
  std::int64_t sum = 0;
  for (const Box& box : boxes) sum += box.volume();
  const std::int64_t covered = covered_elements(shape, boxes);
  const auto overlaps = find_overlaps(boxes);
  ASSERT_EQ(overlaps.empty(), sum == covered);
  for (const Overlap& overlap : overlaps) {
    ASSERT_NE(overlap.first, overlap.second);
    ASSERT_TRUE(intersection(boxes[overlap.first], boxes[overlap.second]));
  }
  if (!overlaps.empty()) return;
  const auto hole = find_uncovered(whole(shape), boxes);
  ASSERT_EQ(hole.has_value(), covered < whole(shape).volume());
  if (!hole) return;
  ASSERT_FALSE(hole->empty());
  ASSERT_TRUE(in_bounds(*hole, shape));
  for (const Box& box : boxes) ASSERT_FALSE(intersection(box, *hole));
}

std::vector<Box> grid(const Dims& tiles, std::int64_t side) {
  std::vector<Box> boxes = {Box{}};
  for (const std::int64_t count : tiles) {
    std::vector<Box> longer;
    for (const Box& box : boxes) {
      for (std::int64_t i = 0; i < count; ++i) {
        longer.push_back(box);
        longer.back().offset.push_back(i * side);
        longer.back().size.push_back(side);
      }
    }
    boxes = std::move(longer);
  }
  return boxes;
}

double seconds_to_check(const Dims& shape, const std::vector<Box>& boxes) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(find_overlaps(boxes).empty());
  EXPECT_FALSE(find_uncovered(whole(shape), boxes));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

TEST(Tiling, IsRightForEveryThreeBoxesInAThreeByThreeSquare) {
  const Dims shape = {3, 3};
  const std::vector<Box> all = all_boxes(shape);
  ASSERT_EQ(all.size(), 36u);
  for (const Box& a : all) {
    for (const Box& b : all) {
      for (const Box& c : all) ASSERT_NO_FATAL_FAILURE(expect_right(shape, std::vector{a, b, c}));
    }
  }
}

TEST(Tiling, FindsTheOneMissingTileOfAGrid) {
  const std::vector<Box> tiles = grid({4, 5}, 2);
  for (const Box& missing : tiles) {
    std::vector<Box> rest = tiles;
    std::erase(rest, missing);
    EXPECT_EQ(find_uncovered(whole({8, 10}), rest), missing);
  }
}

TEST(Tiling, ClipsBoxesThatReachBeyondTheRegion) {
  const std::vector<Box> rows = {{{0}, {4}}, {{4}, {4}}};
  EXPECT_FALSE(find_uncovered(Box{{2}, {4}}, rows));
  EXPECT_EQ(find_uncovered(Box{{2}, {8}}, rows), (Box{{8}, {2}}));
}

TEST(Tiling, NamesAtMostOneOverlapABox) {
  const std::vector<Box> equal(3000, Box{{0, 0}, {2, 2}});
  EXPECT_EQ(find_overlaps(equal).size(), 2999u);
}

TEST(Tiling, LetsABoxWithoutElementsMeetNothing) {
  EXPECT_TRUE(find_overlaps(std::vector<Box>{{{0}, {4}}, {{2}, {0}}, {{2}, {0}}}).empty());
}

TEST(Tiling, TreatsAScalarAsOneElement) {
  const Box scalar = whole({});
  EXPECT_TRUE(find_overlaps(std::vector{scalar}).empty());
  EXPECT_EQ(find_overlaps(std::vector{scalar, scalar}).size(), 1u);
  EXPECT_FALSE(find_uncovered(scalar, std::vector{scalar}));
  EXPECT_EQ(find_uncovered(scalar, {}), scalar);
}

// The bound is generous, for sanitizers and busy machines; comparing all pairs would take minutes.
TEST(Tiling, TakesAHundredThousandChunksInOneTwoAndThreeDimensions) {
  EXPECT_LT(seconds_to_check({200'000}, grid({100'000}, 2)), 10);
  EXPECT_LT(seconds_to_check({632, 632}, grid({316, 316}, 2)), 10);
  EXPECT_LT(seconds_to_check({92, 92, 92}, grid({46, 46, 46}, 2)), 10);
}

TEST(Tiling, IsNotSlowedByOneLongBoxAmongManySmallOnes) {
  std::vector<Box> boxes = grid({2, 50'000}, 1);
  for (Box& box : boxes) box.offset[0] += 1;
  boxes.push_back({{0, 0}, {1, 50'000}});
  EXPECT_LT(seconds_to_check({3, 50'000}, boxes), 10);
}

}  // namespace
}  // namespace holdfast::plan
