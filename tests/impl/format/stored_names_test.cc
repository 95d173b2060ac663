#include "impl/format/stored_names.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/impl/core/random.h"

namespace holdfast::format {
namespace {

using holdfast::testing::Random;

StoredNames stored(const NamesWriter& writer, std::size_t count) { return {writer.blocks(), writer.entries(), count}; }

/// Names of few letters, so that many begin alike; bytes above 0x7f among them.
std::set<std::string> draw_names(Random& random, std::size_t count) {
  std::set<std::string> names;
  while (names.size() < count) {
    std::string name;
    for (std::uint64_t length = random.below(12); length > 0; --length) name += "ab.\xff"[random.below(4)];
    names.insert(name);
  }
  return names;
}

TEST(StoredNames, EachIsFoundAndNoneElse) {
  Random random(1);
  for (std::size_t count = 0; count < 70; ++count) {
    const std::set<std::string> names = draw_names(random, count);
    NamesWriter writer;
    for (const std::string& name : names) writer.add(name);
    const StoredNames view = stored(writer, count);
    ASSERT_TRUE(view.check()) << view.check().error().message;
    std::size_t index = 0;
    for (const std::string& name : names) {
      EXPECT_EQ(view.find(name), index);
      EXPECT_EQ(view.at(index++), name);
    }
    for (int i = 0; i < 50; ++i) {
      const std::string other = *draw_names(random, 1).begin();
      EXPECT_EQ(view.find(other).has_value(), names.contains(other)) << other;
    }
  }
}

TEST(StoredNames, WhatTheOneBeforeHasCostsNothing) {
  NamesWriter writer;
  for (int i = 100; i < 116; ++i) writer.add(fmt::format("model.layers.{}.self_attn.q_proj.weight", i));
  EXPECT_EQ(writer.blocks().size(), 4u);
  EXPECT_LT(writer.entries().size(), 16u * 29u);
}

/// What check() says of names told as (shared, rest).
std::string refusal(const std::vector<std::pair<std::uint64_t, std::string>>& told, std::vector<std::uint32_t> blocks = {0}) {
  Encoder starts, entries;
  for (const std::uint32_t block : blocks) starts.u32(block);
  for (const auto& [shared, rest] : told) {
    entries.varint(shared);
    entries.text(rest);
  }
  const Status sound = StoredNames{starts.bytes(), entries.bytes(), told.size()}.check();
  return sound ? "" : sound.error().message;
}

TEST(StoredNames, RefusesEveryOtherWayToTellThem) {
  EXPECT_EQ(refusal({{0, "ab"}, {1, "c"}}), "");
  EXPECT_EQ(refusal({{1, "ab"}}), "name 0 shares 1 bytes with the one before");
  EXPECT_EQ(refusal({{0, "ab"}, {3, "c"}}), "name 1 shares 3 bytes with the one before");
  EXPECT_EQ(refusal({{0, "ab"}, {0, "b"}, {0, "ab"}}), R"(name 2, "ab", is not above "b")");
  EXPECT_EQ(refusal({{0, "ab"}, {2, ""}}), R"(name 1, "ab", is not above "ab")");
  EXPECT_EQ(refusal({{0, "ab"}, {0, "ac"}}), R"(name 1, "ac", is not above "ab")");  // it shares more than it says
  EXPECT_EQ(refusal({{0, "ab"}}, {1}), "the first block of names does not start at 0");
  std::vector<std::pair<std::uint64_t, std::string>> many{{0, "a"}};
  for (std::size_t i = 1; i < 16; ++i) many.emplace_back(i, "a");
  many.emplace_back(0, std::string(16, 'a'));
  EXPECT_EQ(refusal(many, {0, 48}), fmt::format(R"(name 16, "{0}", is not above "{0}")", std::string(16, 'a')));
  many.back().second += 'a';
  EXPECT_EQ(refusal(many, {0, 48}), "");
  EXPECT_EQ(refusal(many, {0, 47}), "the block of names from 16 on is said to start at 47, it starts at 48");
}

}  // namespace
}  // namespace holdfast::format
