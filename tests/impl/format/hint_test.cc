#include "impl/format/hint.h"

#include <gtest/gtest.h>

namespace holdfast::format {
namespace {

TEST(Hint, SaysTheNameInOneLine) {
  const Bytes bytes = encode_hint("step-1000.a3");
  EXPECT_EQ(as_text(bytes).substr(0, 13), "step-1000.a3 ");
  EXPECT_EQ(as_text(bytes).size(), 13u + 32u + 1u);
  EXPECT_EQ(as_text(bytes).back(), '\n');
  EXPECT_EQ(decode_hint(bytes), "step-1000.a3");
}

TEST(Hint, RefusesEveryFlippedBitAndEveryCut) {
  const Bytes good = encode_hint("step-1000.a3");
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(decode_hint(bad)) << "bit " << bit;
  }
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(decode_hint(ByteView(good).first(size))) << size << " bytes";
}

TEST(Hint, RefusesWhatFollowsTheLine) {
  Bytes bytes = encode_hint("step-1.a1");
  bytes.push_back(std::byte{'\n'});
  const auto hint = decode_hint(bytes, "runs/latest");
  ASSERT_FALSE(hint);
  EXPECT_EQ(hint.error().code, ErrorCode::corrupt);
  EXPECT_EQ(hint.error().message, "\"runs/latest\": no hint at a checkpoint, or a damaged one");
}

TEST(Hint, RefusesNamesThatLeaveTheDirectory) {
  std::string line = "../step-1.a1 ";
  EXPECT_FALSE(decode_hint(as_bytes(line)));
  EXPECT_FALSE(decode_hint({}));
}

}  // namespace
}  // namespace holdfast::format
