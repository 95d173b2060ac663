#include "impl/core/failure.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/impl/core/random.h"

namespace holdfast {
namespace {

using holdfast::testing::Random;

Error disk() { return error(ErrorCode::io_error, "disk"); }
Error full() { return error(ErrorCode::no_space, "full"); }

FailureMap map_of(const std::vector<std::pair<int, Error>>& failures) {
  FailureMap map;
  for (const auto& [rank, error] : failures) map.add(Rank{rank}, error);
  return map;
}

TEST(FailureMap, IsTheSameWhateverTheOrder) {
  const std::vector<std::pair<int, Error>> failures = {{0, disk()}, {1, disk()}, {2, full()}, {3, disk()}, {5, full()}};
  const FailureMap expected = map_of(failures);
  std::vector<std::size_t> order = {0, 1, 2, 3, 4};
  do {
    FailureMap map;
    for (const std::size_t i : order) map.add(Rank{failures[i].first}, failures[i].second);
    EXPECT_EQ(map, expected);
  } while (std::ranges::next_permutation(order).found);
  EXPECT_EQ(to_string(expected), "ranks 0-1,3: disk (io_error); ranks 2,5: full (no_space)");
}

TEST(FailureMap, KeepsTheFirstErrorOfARank) {
  const FailureMap map = map_of({{4, disk()}, {4, full()}});
  EXPECT_EQ(*map.find(Rank{4}), disk());
  EXPECT_EQ(map.find(Rank{3}), nullptr);
  EXPECT_EQ(to_string(map), "rank 4: disk (io_error)");
}

TEST(FailureMap, MergeIsUnion) {
  for (int a = 0; a < 32; ++a) {
    for (int b = 0; b < 32; ++b) {
      FailureMap left, right, both;
      for (int rank = 0; rank < 5; ++rank) {
        if (a >> rank & 1) left.add(Rank{rank}, disk());
        if (b >> rank & 1) right.add(Rank{rank}, disk());
        if ((a | b) >> rank & 1) both.add(Rank{rank}, disk());
      }
      left.merge(right);
      EXPECT_EQ(left, both) << a << " " << b;
      EXPECT_EQ(left.empty(), (a | b) == 0);
    }
  }
}

TEST(FailureMap, ManyEqualFailuresStaySmall) {
  FailureMap map;
  for (int rank = 0; rank < 10000; ++rank) map.add(Rank{rank}, disk());
  Encoder out;
  map.encode(out);
  EXPECT_LT(out.size(), 20u);
  EXPECT_EQ(map.ranks().size(), 10000u);
}

TEST(FailureMap, ComesBackFromItsBytesAndNeverFromACut) {
  const FailureMap map = map_of({{0, disk()}, {2, full()}, {3, full()}, {1000, disk()}});
  Encoder out;
  map.encode(out);
  Decoder in(out.bytes(), "map");
  EXPECT_EQ(FailureMap::decode(in), map);
  EXPECT_TRUE(in.finish());
  for (std::size_t size = 0; size < out.size(); ++size) {
    Decoder cut(ByteView(out.bytes()).first(size), "map");
    EXPECT_FALSE(FailureMap::decode(cut)) << size;
  }
}

TEST(FailureMap, AnyBytesGiveAMapOrAnError) {
  Encoder out;
  map_of({{0, disk()}, {2, full()}, {3, full()}, {1000, disk()}}).encode(out);
  Random random(5);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = out.bytes();
    bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next());
    bytes[random.below(bytes.size())] = static_cast<std::byte>(random.below(4));
    Decoder in(bytes, "noise");
    const auto map = FailureMap::decode(in);
    EXPECT_TRUE(map || map.error().code == ErrorCode::corrupt);
  }
}

TEST(CheckpointError, SaysStepOutcomeRanksAndSilence) {
  const CheckpointError error{"write", Outcome::unknown, map_of({{1, disk()}}), {Rank{3}, Rank{4}}};
  EXPECT_EQ(to_string(error), "write unknown: rank 1: disk (io_error); not heard from: ranks 3,4");
}

TEST(RankText, ListsRanksAsRanges) {
  EXPECT_EQ(rank_text(std::vector{Rank{3}}), "rank 3");
  EXPECT_EQ(rank_text(std::vector{Rank{7}, Rank{1}, Rank{5}, Rank{4}, Rank{6}, Rank{4}}), "ranks 1,4-7");
}

}  // namespace
}  // namespace holdfast
