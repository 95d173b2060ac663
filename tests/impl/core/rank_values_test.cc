#include "impl/core/rank_values.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

Metadata holding(const std::vector<std::string>& keys) {
  Metadata metadata;
  for (const std::string& key : keys) metadata.entries.emplace(key, BytesMetadata{});
  return metadata;
}

TEST(RankValueKey, IsReadBackWhateverTheName) {
  for (const std::string name : {"rng", "", "a/b", "@rank/0-of-1/drop/x"}) {
    const RankValueKey key{name, Rank{3}, 8, RankPolicy::modulo};
    EXPECT_EQ(parse_rank_value_key(to_string(key)), key);
  }
  EXPECT_EQ(to_string(RankValueKey{"rng", Rank{3}, 8, RankPolicy::same_rank}), "@rank/3-of-8/same_rank/rng");
}

TEST(RankValueKey, IsNothingElse) {
  for (const char* key : {"rng", "@rank/", "@rank/3-of-3/drop/x", "@rank/03-of-8/drop/x", "@rank/-1-of-8/drop/x", "@rank/1-of-8/often/x",
                          "@rank/1-of-8/drop", "@rank/1-of-99999999999/drop/x", "@rank/1of8/drop/x"}) {
    EXPECT_FALSE(parse_rank_value_key(key)) << key;
  }
}

TEST(RankValues, AreFoundByName) {
  const auto values = rank_values_of(holding({"@rank/0-of-2/drop/a", "@rank/0-of-2/first/b", "@rank/1-of-2/drop/a", "a.b", "z"})).value();
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values.at("a").keys, (std::vector<std::string>{"@rank/0-of-2/drop/a", "@rank/1-of-2/drop/a"}));
  EXPECT_EQ(values.at("b").policy, RankPolicy::first);
  EXPECT_EQ(values.at("b").ranks, 2);
}

TEST(RankValues, MustBeOfOneJobAndOnePolicyAndAlone) {
  EXPECT_EQ(rank_values_of(holding({"@rank/0-of-2/drop/a", "@rank/1-of-2/first/a"})).error().message,
            R"("a": values of ranks of 2 with the policy drop, and of 2 with first)");
  EXPECT_EQ(rank_values_of(holding({"@rank/0-of-2/drop/a", "@rank/1-of-3/drop/a"})).error().message,
            R"("a": values of ranks of 2 with the policy drop, and of 3 with drop)");
  EXPECT_EQ(rank_values_of(holding({"@rank/0-of-2/drop/a", "a"})).error().message,
            R"("a": a value for each rank, and one for all of them)");
}

std::string key(RankPolicy policy, int rank, int ranks) {
  const SavedRankValue saved{3, RankPolicy::drop, {}};
  const auto found = key_to_load("rng", saved, policy, Rank{rank}, ranks);
  return found ? found->value_or("nothing") : found.error().message;
}

TEST(RankValues, GoByThePolicyOfTheLoad) {
  EXPECT_EQ(key(RankPolicy::same_rank, 2, 3), "@rank/2-of-3/drop/rng");
  EXPECT_EQ(key(RankPolicy::same_rank, 1, 2),
            R"("rng": 3 ranks saved a value each, 2 ranks load, and the policy same_rank asks for as many)");
  EXPECT_EQ(key(RankPolicy::modulo, 4, 5), "@rank/1-of-3/drop/rng");
  EXPECT_EQ(key(RankPolicy::first, 4, 5), "@rank/0-of-3/drop/rng");
  EXPECT_EQ(key(RankPolicy::drop, 1, 3), "@rank/1-of-3/drop/rng");
  EXPECT_EQ(key(RankPolicy::drop, 1, 2), "nothing");
}

}  // namespace
}  // namespace holdfast
