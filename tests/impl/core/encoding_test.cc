#include "impl/core/encoding.h"

#include <gtest/gtest.h>

#include "tests/impl/core/random.h"

namespace holdfast {
namespace {

using holdfast::testing::Random;

std::vector<std::uint64_t> edges() {
  std::vector<std::uint64_t> values;
  for (unsigned bit = 0; bit < 64; ++bit) {
    for (const std::uint64_t near : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}})
      values.push_back((std::uint64_t{1} << bit) + near);
  }
  return values;
}

TEST(Encoding, IntegersComeBackAtEveryPowerOfTwo) {
  for (const std::uint64_t value : edges()) {
    Encoder out;
    out.u8(static_cast<std::uint8_t>(value));
    out.u32(static_cast<std::uint32_t>(value));
    out.u64(value);
    out.varint(value);
    out.signed_varint(static_cast<std::int64_t>(value));
    Decoder in(out.bytes(), "test");
    EXPECT_EQ(in.u8(), static_cast<std::uint8_t>(value));
    EXPECT_EQ(in.u32(), static_cast<std::uint32_t>(value));
    EXPECT_EQ(in.u64(), value);
    EXPECT_EQ(in.varint(), value);
    EXPECT_EQ(in.signed_varint(), static_cast<std::int64_t>(value));
    EXPECT_TRUE(in.finish());
  }
}

TEST(Encoding, FixedIntegersAreLittleEndian) {
  Encoder out;
  out.u32(0x01020304);
  EXPECT_EQ(out.bytes(), (Bytes{std::byte{4}, std::byte{3}, std::byte{2}, std::byte{1}}));
}

TEST(Encoding, BlobsAndTextsComeBack) {
  Encoder out;
  out.text("");
  out.text("abc");
  out.blob(Bytes(300, std::byte{7}));
  Decoder in(out.bytes(), "test");
  EXPECT_EQ(in.text(), "");
  EXPECT_EQ(in.text(), "abc");
  EXPECT_EQ(in.blob()->size(), 300u);
  EXPECT_TRUE(in.finish());
}

TEST(Encoding, EveryCutIsAnErrorThatSaysWhere) {
  Encoder out;
  out.u32(1);
  out.text("abc");
  for (std::size_t size = 0; size < out.size(); ++size) {
    Decoder in(ByteView(out.bytes()).first(size), "thing");
    const auto number = in.u32();
    EXPECT_FALSE(number && in.text()) << size;
  }
  Decoder in(ByteView(out.bytes()).first(3), "thing");
  EXPECT_EQ(in.u32().error(), (Error{ErrorCode::corrupt, "decode thing: 4 bytes wanted at offset 0, 3 left"}));
}

TEST(Encoding, ThereIsOneFormOfEachVarint) {
  const auto decode = [](std::initializer_list<int> list) {
    Bytes bytes;
    for (const int value : list) bytes.push_back(static_cast<std::byte>(value));
    return Decoder(bytes, "thing").varint();
  };
  EXPECT_EQ(decode({0x80, 0x01}), 128u);
  EXPECT_EQ(decode({0x80, 0x00}).error().message, "decode thing: padded integer before offset 2");
  EXPECT_EQ(decode({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}), ~std::uint64_t{0});
  EXPECT_EQ(decode({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}).error().message,
            "decode thing: integer over 64 bits before offset 10");
  EXPECT_FALSE(decode({0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}));
}

TEST(Encoding, AnnouncedCountsMustFit) {
  Encoder out;
  out.varint(std::uint64_t{1} << 60);
  out.raw(Bytes(8));
  Decoder in(out.bytes(), "thing");
  EXPECT_EQ(in.count(4).error().message, "decode thing: 1152921504606846976 entries announced before offset 9, but only 8 bytes are left");
  Decoder blob(out.bytes(), "thing");
  EXPECT_FALSE(blob.blob());
}

TEST(Encoding, BytesAfterTheEndAreAnError) {
  const Bytes bytes(3);
  Decoder in(bytes, "thing");
  EXPECT_TRUE(in.u8());
  EXPECT_EQ(in.finish().error().message, "decode thing: 2 bytes after the end at offset 1");
}

TEST(Encoding, AnyBytesGiveValuesOrAnError) {
  Random random(3);
  for (int round = 0; round < 20000; ++round) {
    const Bytes bytes = random.bytes(random.below(24));
    Decoder in(bytes, "noise");
    for (int reads = 0; reads < 8; ++reads) {
      const std::size_t before = in.offset();
      switch (random.below(6)) {
        case 0: (void)in.u8(); break;
        case 1: (void)in.u32(); break;
        case 2: (void)in.u64(); break;
        case 3: (void)in.signed_varint(); break;
        case 4: (void)in.text(); break;
        default: (void)in.count(3); break;
      }
      ASSERT_GE(in.offset(), before);
      ASSERT_LE(in.offset(), bytes.size());
    }
  }
}

}  // namespace
}  // namespace holdfast
