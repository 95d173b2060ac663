#include "impl/plan/retention.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace holdfast::plan {
namespace {

std::vector<Committed> ladder(int count) {
  std::vector<Committed> committed;
  for (int i = 1; i <= count; ++i) committed.push_back({{Step{10 * i}, static_cast<std::uint32_t>(i)}, static_cast<std::uint64_t>(i)});
  return committed;
}

TEST(Retention, KeepsTheNewestAndRetiresTheOldestFirst) {
  EXPECT_EQ(to_retire(ladder(4), 4, {}, {}), (std::vector<AttemptId>{{Step{10}, 1}, {Step{20}, 2}}));
}

TEST(Retention, KeepsEveryNthStep) {
  EXPECT_EQ(to_retire(ladder(5), 5, {.keep_last = 1, .keep_every = 20}, {}), (std::vector<AttemptId>{{Step{10}, 1}, {Step{30}, 3}}));
}

TEST(Retention, NeverRetiresTheLastVerifiedOne) {
  EXPECT_EQ(to_retire(ladder(3), 3, {.keep_last = 1}, AttemptId{Step{10}, 1}), (std::vector<AttemptId>{{Step{20}, 2}}));
}

TEST(Retention, ASaveThatWokeUpLateRetiresNothingThatOvertookIt) {
  EXPECT_EQ(to_retire(ladder(5), 2, {.keep_last = 1}, {}), (std::vector<AttemptId>{{Step{10}, 1}}));
}

TEST(Retention, GoesByAgeNotByStep) {
  const std::vector<Committed> rewound = {{{Step{1000}, 1}, 1}, {{Step{900}, 2}, 2}, {{Step{910}, 3}, 3}};
  EXPECT_EQ(to_retire(rewound, 3, {}, {}), (std::vector<AttemptId>{{Step{1000}, 1}}));
}

TEST(Retention, HoldsItsPromisesForEverySmallCase) {
  for (int count = 0; count <= 5; ++count) {
    const auto committed = ladder(count);
    for (std::uint64_t own = 0; own <= 6; ++own) {
      for (std::size_t keep_last = 0; keep_last <= 6; ++keep_last) {
        for (std::int64_t keep_every : {0, 20, 30}) {
          for (int verified = 0; verified <= count; ++verified) {
            const auto last = verified ? std::optional(committed[static_cast<std::size_t>(verified - 1)].id) : std::nullopt;
            const auto retired = to_retire(committed, own, {keep_last, keep_every}, last);
            EXPECT_TRUE(std::ranges::is_sorted(retired));
            for (const AttemptId& id : retired) {
              const auto sequence = id.attempt;
              EXPECT_LT(sequence, own);
              EXPECT_NE(id, last);
              EXPECT_NE(sequence, static_cast<std::uint32_t>(count));
              EXPECT_LE(sequence + keep_last, static_cast<std::uint32_t>(count));
              EXPECT_TRUE(keep_every == 0 || id.step.value % keep_every != 0);
            }
            if (keep_every == 0 && !last && own > static_cast<std::uint64_t>(count)) {
              EXPECT_EQ(retired.size(), static_cast<std::size_t>(std::max(0, count - std::max(1, static_cast<int>(keep_last)))));
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::plan
