#include "impl/plan/box_index.h"

#include <gtest/gtest.h>

#include "tests/impl/core/random.h"

namespace holdfast::plan {
namespace {

TEST(BoxIndex, FindsWhatComparingAllFinds) {
  testing::Random random(3);
  const auto below = [&](std::int64_t bound) { return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound))); };
  for (int round = 0; round < 300; ++round) {
    const auto dims = static_cast<std::size_t>(below(4));
    const auto draw = [&] {
      Box box{Dims(dims, 0), Dims(dims, 0)};
      for (std::size_t d = 0; d < dims; ++d) {
        box.offset[d] = below(40);
        box.size[d] = below(8);
      }
      return box;
    };
    std::vector<Box> boxes;
    for (std::int64_t n = below(200); n > 0; --n) boxes.push_back(draw());
    const BoxIndex index(boxes);
    for (int i = 0; i < 20; ++i) {
      const Box wanted = draw();
      std::vector<std::size_t> expected;
      for (std::size_t b = 0; b < boxes.size(); ++b) {
        if (intersection(boxes[b], wanted)) expected.push_back(b);
      }
      ASSERT_EQ(index.meeting(wanted), expected);
    }
  }
}

TEST(BoxIndex, OfNothingFindsNothing) { EXPECT_TRUE(BoxIndex({}).meeting({{0}, {1}}).empty()); }

}  // namespace
}  // namespace holdfast::plan
