#include "impl/plan/replicas.h"

#include <gtest/gtest.h>

namespace holdfast::plan {
namespace {

TensorDigest digest(std::uint64_t first, std::uint64_t second = 0) { return {{first, second}}; }

/// "w" of 8 elements, written in two halves.
Metadata halves() {
  Metadata metadata;
  metadata.entries.emplace("w", TensorMetadata{DType::f32, {8}, ChunkSet({{{0}, {4}}, {{4}, {4}}}, {8})});
  return metadata;
}

std::vector<WrittenChunk> written(std::uint64_t low, std::uint64_t high, int low_rank = 0, int high_rank = 1) {
  return {{"w", {0}, digest(low), Rank{low_rank}}, {"w", {4}, digest(high), Rank{high_rank}}};
}

/// Rank r holds the whole of "w" with the r-th digest.
std::vector<std::vector<HeldBox>> whole_on(const std::vector<TensorDigest>& digests) {
  std::vector<std::vector<HeldBox>> held;
  for (const TensorDigest& of : digests) held.push_back({{"w", whole({8}), of}});
  return held;
}

std::string told(const std::vector<ReplicaDifference>& differences) {
  std::string text;
  for (const ReplicaDifference& difference : differences) {
    text += fmt::format("{}[", text.empty() ? "" : " ");
    for (const Rank rank : difference.ranks) text += fmt::format("{}{}", text.back() == '[' ? "" : ",", rank);
    text += "] " + difference.message;
  }
  return text;
}

const std::string low = "0000000000000005:0000000000000000";
const std::string high = "0000000000000006:0000000000000000";

TEST(Replicas, AreEqualWhenTheChunksAddUpToThem) {
  EXPECT_EQ(told(compare_replicas(halves(), written(2, 3), whole_on({digest(5), digest(5), digest(5)}))), "");
  EXPECT_EQ(told(compare_replicas(halves(), {}, std::vector<std::vector<HeldBox>>(3))), "");
}

TEST(Replicas, NameTheFewThatDifferFromTheMany) {
  EXPECT_EQ(told(compare_replicas(halves(), written(2, 3), whole_on({digest(5), digest(6), digest(5)}))),
            "[1] \"w\" [0]+[8]: digest " + low + " on ranks 0,2, digest " + high + " on rank 1");
  // The one that differs wrote half of it: its half is in what was written.
  EXPECT_EQ(told(compare_replicas(halves(), written(2, 4), whole_on({digest(5), digest(6), digest(5)}))),
            "[1] \"w\" [0]+[8]: digest " + low + " on ranks 0,2, digest " + high + " on rank 1");
}

TEST(Replicas, DifferInTheSecondLaneAlone) {
  EXPECT_EQ(compare_replicas(halves(), written(2, 3), whole_on({digest(5), digest(5), digest(5, 1)})).at(0).ranks, (std::vector{Rank{2}}));
}

TEST(Replicas, CountTheOneThatWroteTheBoxWhole) {
  // Rank 2 alone wrote the low half, and holds nothing else of it; rank 0 and 1 hold it too.
  std::vector<std::vector<HeldBox>> held(3);
  held[0] = {{"w", {{0}, {4}}, digest(5)}};
  held[1] = {{"w", {{0}, {4}}, digest(5)}};
  EXPECT_EQ(told(compare_replicas(halves(), written(6, 1, 2, 2), held)),
            "[2] \"w\" [0]+[4]: digest " + low + " on ranks 0-1, digest " + high + " on rank 2");
}

TEST(Replicas, NameAllHoldersWhereNoVersionIsOnMoreThanHalf) {
  std::vector<std::vector<HeldBox>> held(2);
  held[1] = {{"w", {{0}, {4}}, digest(5)}};
  EXPECT_EQ(told(compare_replicas(halves(), written(6, 1), held)),
            "[0,1] \"w\" [0]+[4]: digest " + low + " on rank 1, digest " + high + " on rank 0; no version is on more than half of them");
}

TEST(Replicas, NameTheWritersWhereEverybodyElseAgrees) {
  EXPECT_EQ(told(compare_replicas(halves(), written(2, 4, 3, 3), whole_on({digest(5), digest(5)}))),
            "[3] \"w\" [0]+[8]: digest " + low + " on ranks 0-1; written were chunks that add up to " + high);
}

TEST(Replicas, AreNotTrustedWhereTheyCannotBeCompared) {
  std::vector<std::vector<HeldBox>> held(2);
  held[1] = {{"w", {{2}, {4}}, digest(5)}};
  const std::string cannot = "; the chunks that were written do not tile it, so it cannot be compared";
  EXPECT_EQ(told(compare_replicas(halves(), written(2, 3), held)), "[1] \"w\" [2]+[4]: digest " + low + " on rank 1" + cannot);
  EXPECT_EQ(told(compare_replicas(halves(), {}, whole_on({digest(5)}))), "[0] \"w\" [0]+[8]: digest " + low + " on rank 0" + cannot);
  EXPECT_EQ(told(compare_replicas({}, {}, whole_on({digest(5)}))), "[0] \"w\" [0]+[8]: digest " + low + " on rank 0" + cannot);
}

}  // namespace
}  // namespace holdfast::plan
