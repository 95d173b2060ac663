#include "impl/core/mark.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

std::uint64_t hits(const std::string& name) {
  const auto marks = mark_hits();
  return marks.contains(name) ? marks.at(name) : 0;
}

TEST(Mark, CountsWhatWasReachedHereAndElsewhere) {
  EXPECT_FALSE(mark_hits().contains("test.mark"));
  for (int i = 0; i < 2; ++i) MARK("test.mark");
  EXPECT_EQ(hits("test.mark"), 2u);
  add_mark_hits({{"test.mark", 5}, {"test.mark_elsewhere", 3}});
  add_mark_hits({{"test.mark_elsewhere", 1}});
  MARK("test.mark");
  EXPECT_EQ(hits("test.mark"), 8u);
  EXPECT_EQ(hits("test.mark_elsewhere"), 4u);
}

}  // namespace
}  // namespace holdfast
