#include "impl/core/box.h"

#include <gtest/gtest.h>

#include <vector>

namespace holdfast {
namespace {

/// Every box of one dimension within [0, extent).
std::vector<Box> boxes_1d(std::int64_t extent) {
  std::vector<Box> boxes;
  for (std::int64_t offset = 0; offset <= extent; ++offset) {
    for (std::int64_t size = 0; offset + size <= extent; ++size) boxes.push_back({{offset}, {size}});
  }
  return boxes;
}

std::vector<Box> boxes_2d(std::int64_t extent) {
  std::vector<Box> boxes;
  for (const Box& a : boxes_1d(extent)) {
    for (const Box& b : boxes_1d(extent)) boxes.push_back({{a.offset[0], b.offset[0]}, {a.size[0], b.size[0]}});
  }
  return boxes;
}

bool holds(const Box& box, std::int64_t row, std::int64_t column) {
  return row >= box.offset[0] && row < box.offset[0] + box.size[0] && column >= box.offset[1] && column < box.offset[1] + box.size[1];
}

TEST(Box, IntersectionHoldsExactlyTheCommonElements) {
  const auto boxes = boxes_2d(3);
  for (const Box& a : boxes) {
    for (const Box& b : boxes) {
      const auto common = intersection(a, b);
      int elements = 0;
      for (std::int64_t row = 0; row < 3; ++row) {
        for (std::int64_t column = 0; column < 3; ++column) {
          const bool both = holds(a, row, column) && holds(b, row, column);
          EXPECT_EQ(common && holds(*common, row, column), both) << to_string(a) << " and " << to_string(b);
          elements += both;
        }
      }
      EXPECT_EQ(common.has_value(), elements != 0) << to_string(a) << " and " << to_string(b);
      if (!a.empty()) {
        EXPECT_EQ(contains(b, a), common == a) << to_string(a) << " in " << to_string(b);
      }
    }
  }
}

TEST(Box, OfNoDimensionsMeetsItself) {
  EXPECT_EQ(intersection(Box{}, Box{}), Box{});
  EXPECT_EQ(Box{}.volume(), 1);
  EXPECT_TRUE(in_bounds(Box{}, {}));
}

TEST(Box, InBoundsNeitherWrapsNorForgivesNegatives) {
  EXPECT_TRUE(in_bounds({{2}, {2}}, {4}));
  EXPECT_TRUE(in_bounds({{4}, {0}}, {4}));
  EXPECT_FALSE(in_bounds({{3}, {2}}, {4}));
  EXPECT_FALSE(in_bounds({{5}, {0}}, {4}));
  EXPECT_FALSE(in_bounds({{-1}, {2}}, {4}));
  EXPECT_FALSE(in_bounds({{1}, {-1}}, {4}));
  EXPECT_FALSE(in_bounds({{0, 0}, {1, 1}}, {4}));
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_FALSE(in_bounds({{most}, {most}}, {most}));
}

TEST(Volume, RefusesNegativeSizesAndOverflow) {
  const auto of = [](Dims dims) { return checked_volume({dims.data(), dims.size()}); };
  const std::int64_t big = std::int64_t{1} << 31;
  EXPECT_EQ(of({}), 1);
  EXPECT_EQ(of({3, 4}), 12);
  EXPECT_EQ(of({big, big}), std::int64_t{1} << 62);
  EXPECT_EQ(of({big, big, 2}).error().message, "shape [2147483648,2147483648,2]: over 2^62 elements");
  EXPECT_EQ(of({3, -1}).error().message, "shape [3,-1]: a negative size");
  EXPECT_EQ(of({0, big, big, big}), 0) << "no element, whatever the other sizes";
  EXPECT_FALSE(of({0, -1}));
}

TEST(Box, OrderIsByOffsetThenSize) {
  EXPECT_LT((Box{{0, 1}, {9, 9}}), (Box{{1, 0}, {1, 1}}));
  EXPECT_LT((Box{{0, 1}, {1, 1}}), (Box{{0, 1}, {1, 2}}));
  EXPECT_FALSE((Box{{0, 1}, {1, 1}}) < (Box{{0, 1}, {1, 1}}));
  EXPECT_EQ(to_string(Box{{0, 2}, {4, 4}}), "[0,2]+[4,4]");
}

}  // namespace
}  // namespace holdfast
