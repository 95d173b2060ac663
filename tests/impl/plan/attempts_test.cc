#include "impl/plan/attempts.h"

#include <gtest/gtest.h>

#include <limits>

namespace holdfast::plan {
namespace {

TEST(Attempts, NameADirectoryAndReadItBack) {
  EXPECT_EQ(directory_name({Step{7}, 1}), "step-7.a1");
  for (const std::int64_t step : {std::int64_t{0}, std::int64_t{7}, std::int64_t{1000}, std::numeric_limits<std::int64_t>::max()}) {
    for (const std::uint32_t attempt : {0u, 1u, 10u, std::numeric_limits<std::uint32_t>::max()}) {
      const AttemptId id{Step{step}, attempt};
      EXPECT_EQ(parse_directory_name(directory_name(id)), id);
    }
  }
}

TEST(Attempts, RefuseEveryNameTheyWouldNotGive) {
  for (const char* name : {"",
                           "step-",
                           "step-7",
                           "step-7.a",
                           "step-07.a1",
                           "step-7.a01",
                           "step-+7.a1",
                           "step--7.a1",
                           "step-7.a-1",
                           "step-7.a1 ",
                           " step-7.a1",
                           "step-7.a1.tmp",
                           "Step-7.a1",
                           "step-7a1",
                           "step-7.b1",
                           "step-.a1",
                           "step-00.a1",
                           "step-0x7.a1",
                           "step-9223372036854775808.a1",
                           "step-7.a4294967296",
                           "latest"}) {
    EXPECT_EQ(parse_directory_name(name), std::nullopt) << name;
  }
}

TEST(Attempts, RefuseAnyNameWithOneByteChanged) {
  const std::string name = "step-10.a2";
  for (std::size_t at = 0; at < name.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = name;
      changed[at] = static_cast<char>(byte);
      const auto id = parse_directory_name(changed);
      EXPECT_EQ(id ? directory_name(*id) : changed, changed);
    }
  }
}

TEST(Attempts, AreNewerBySequenceThenByAttemptThenByStepNeverByStepAlone) {
  const Committed rewound{{Step{900}, 5}, 4};
  EXPECT_TRUE(newer(rewound, {{Step{1000}, 4}, 3}));
  EXPECT_TRUE(newer({{Step{900}, 6}, 4}, rewound));
  EXPECT_TRUE(newer({{Step{901}, 5}, 4}, rewound));
  EXPECT_FALSE(newer(rewound, rewound));
  const auto sorted = newest_first({{{Step{1000}, 4}, 3}, {{Step{2000}, 1}, 1}, rewound});
  EXPECT_EQ(sorted.front(), rewound);
  EXPECT_EQ(sorted.back().id.step, Step{2000});
}

TEST(Attempts, AreNumberedOverAllSteps) {
  EXPECT_EQ(next_attempt({}, Step{3}), (AttemptId{Step{3}, 1}));
  const std::vector<AttemptId> all = {{Step{3}, 1}, {Step{1000}, 9}, {Step{4}, 2}};
  EXPECT_EQ(next_attempt(all, Step{3}), (AttemptId{Step{3}, 10}));
}

TEST(Attempts, StayAtTheLargestNumberInsteadOfWrapping) {
  const std::uint32_t largest = std::numeric_limits<std::uint32_t>::max();
  EXPECT_EQ(next_attempt(std::vector<AttemptId>{{Step{1}, largest}}, Step{2}).attempt, largest);
}

TEST(Attempts, TakeTheSequenceAfterTheHighestCommitted) {
  EXPECT_EQ(next_sequence({}), 1u);
  EXPECT_EQ(next_sequence(std::vector<Committed>{{{Step{9}, 1}, 4}, {{Step{5}, 2}, 7}}), 8u);
}

TEST(Attempts, AreNewerThanEveryAttemptThatBeganBefore) {
  // Two saves see the same committed ones; whichever commits, the later one to begin is the newer.
  const std::vector<AttemptId> before = {{Step{10}, 1}};
  const std::vector<Committed> committed = {{{Step{10}, 1}, 1}};
  const Committed first{next_attempt(before, Step{30}), next_sequence(committed)};
  const Committed second{next_attempt(std::vector<AttemptId>{before[0], first.id}, Step{20}), next_sequence(committed)};
  EXPECT_TRUE(newer(second, first));
}

}  // namespace
}  // namespace holdfast::plan
