#include "impl/comm/tree.h"

#include <gtest/gtest.h>

#include <chrono>

#include "impl/comm/comm.h"

namespace holdfast::comm {
namespace {

TEST(Tree, ReachesEveryRankOnceForEverySmallShape) {
  for (int world = 1; world <= 40; ++world) {
    for (int coordinator = 0; coordinator < world; ++coordinator) {
      for (int fan_out = 1; fan_out <= 5; ++fan_out) {
        const Tree tree(world, Rank{coordinator}, fan_out);
        const std::vector<Rank> all = tree.subtree(Rank{coordinator});
        ASSERT_EQ(all.size(), static_cast<std::size_t>(world));
        for (int r = 0; r < world; ++r) ASSERT_EQ(all[static_cast<std::size_t>(r)].value, r);
      }
    }
  }
}

TEST(Tree, ParentAndChildrenAgree) {
  for (int world = 2; world <= 40; ++world) {
    for (int fan_out = 1; fan_out <= 5; ++fan_out) {
      const Tree tree(world, Rank{1}, fan_out);
      for (int r = 0; r < world; ++r) {
        for (const Rank child : tree.children(Rank{r})) {
          ASSERT_EQ(tree.parent(child), Rank{r});
          ASSERT_EQ(tree.depth(child), tree.depth(Rank{r}) + 1);
          ASSERT_LE(tree.depth(child), tree.height());
        }
      }
    }
  }
}

TEST(Tree, IsAStarUpToTheFanOut) {
  EXPECT_EQ(Tree(1, Rank{0}, 64).height(), 0);
  EXPECT_EQ(Tree(65, Rank{7}, 64).height(), 1);
  EXPECT_EQ(Tree(66, Rank{7}, 64).height(), 2);
  EXPECT_EQ(Tree(16384, Rank{0}, 64).height(), 3);
}

TEST(Timetable, NoticesALateChildBeforeItsParentIsGivenUp) {
  using namespace std::chrono_literals;
  const port::Deadline end{port::TimePoint(100s)};
  for (int height = 0; height <= 4; ++height) {
    const Timetable times(end, 80s, height);
    for (int depth = height; depth > 0; --depth) {
      EXPECT_LT(times.up(depth).at, times.up(depth - 1).at);
      EXPECT_LT(times.down(depth - 1).at, times.down(depth).at);
    }
    EXPECT_LE(times.work().at, times.up(height).at);
    EXPECT_LT(times.up(0).at, times.reduce().at);
    EXPECT_LE(times.reduce().at, times.down(0).at);
    EXPECT_EQ(times.down(height).at, end.at);
    EXPECT_GE(times.work().at, port::TimePoint(20s + 40s));
  }
}

}  // namespace
}  // namespace holdfast::comm
