#include "impl/comm/round_message.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace holdfast::comm {
namespace {

Ascent sample_ascent() {
  Ascent ascent;
  ascent.failures.add(Rank{3}, error(ErrorCode::no_space, "write \"x\": full"));
  ascent.failures.add(Rank{4}, error(ErrorCode::no_space, "write \"x\": full"));
  ascent.lost = {Rank{7}, Rank{9}};
  ascent.contributions.emplace_back(Rank{1}, to_bytes(as_bytes("one")));
  ascent.contributions.emplace_back(Rank{2}, SharedBytes());
  return ascent;
}

Descent sample_descent() {
  Descent descent;
  descent.kind = Descent::Kind::agreed;
  descent.common = to_bytes(as_bytes("all"));
  descent.individual.emplace_back(Rank{5}, to_bytes(as_bytes("you")));
  return descent;
}

TEST(RoundMessage, ComesBackAsItWas) {
  const Result<Ascent> up = decode_ascent(encode(sample_ascent()));
  ASSERT_TRUE(up);
  EXPECT_EQ(up->failures, sample_ascent().failures);
  EXPECT_EQ(up->lost, sample_ascent().lost);
  ASSERT_EQ(up->contributions.size(), 2u);
  EXPECT_EQ(as_text(up->contributions[0].second.view()), "one");

  const Result<Descent> down = decode_descent(encode(sample_descent()));
  ASSERT_TRUE(down);
  EXPECT_EQ(down->kind, Descent::Kind::agreed);
  EXPECT_EQ(as_text(down->common.view()), "all");
  ASSERT_EQ(down->individual.size(), 1u);
  EXPECT_EQ(as_text(down->individual[0].second.view()), "you");
}

TEST(RoundMessage, EqualContributionsStandOnce) {
  Ascent ascent;
  const SharedBytes plan(Bytes(10000, std::byte{7}));
  for (int rank = 0; rank < 1000; ++rank) {
    ascent.contributions.emplace_back(Rank{rank}, rank % 10 == 9 ? SharedBytes(Bytes(10000, std::byte{8})) : plan);
  }
  const Bytes up = encode(ascent);
  EXPECT_LT(up.size(), 21500u);
  const Result<Ascent> back = decode_ascent(up);
  ASSERT_TRUE(back);
  ASSERT_EQ(back->contributions.size(), 1000u);
  for (int rank = 0; rank < 1000; ++rank) {
    const auto& [of, bytes] = back->contributions[static_cast<std::size_t>(rank)];
    ASSERT_EQ(of, Rank{rank});
    ASSERT_TRUE(std::ranges::equal(bytes.view(), ascent.contributions[static_cast<std::size_t>(rank)].second.view()));
  }
}

TEST(RoundMessage, RejectsATailCutAtAnyByte) {
  const Bytes up = encode(sample_ascent());
  for (std::size_t size = 0; size < up.size(); ++size)
    EXPECT_FALSE(decode_ascent(Bytes(up.begin(), up.begin() + static_cast<std::ptrdiff_t>(size)))) << size;
  const Bytes down = encode(sample_descent());
  for (std::size_t size = 0; size < down.size(); ++size)
    EXPECT_FALSE(decode_descent(Bytes(down.begin(), down.begin() + static_cast<std::ptrdiff_t>(size)))) << size;
}

TEST(RoundMessage, DecodesAnyFlippedBitToAValueOrAnError) {
  const Bytes up = encode(sample_ascent());
  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < up.size() * 8; ++bit) {
    Bytes flipped = up;
    flipped[bit / 8] ^= std::byte(1u << (bit % 8));
    if (!decode_ascent(flipped)) ++refused;
  }
  EXPECT_GT(refused, 0u);
}

}  // namespace
}  // namespace holdfast::comm
