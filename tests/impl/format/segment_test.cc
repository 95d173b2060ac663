#include "impl/format/segment.h"

#include <gtest/gtest.h>

#include <array>

#include "impl/core/encoding.h"
#include "impl/format/safetensors.h"

namespace holdfast::format {
namespace {

SegmentTensor tensor(std::string name, DType dtype, Dims shape, Box box) {
  return {std::move(name), dtype, std::move(shape), std::move(box), 0, 0, 0};
}

/// One tensor of every kind that is written differently.
std::vector<SegmentTensor> mixed_tensors() {
  std::vector<SegmentTensor> tensors = {
      tensor("wte", DType::bf16, {8, 4}, {{2, 0}, {3, 4}}),
      tensor("scalar", DType::f64, {}, {}),
      tensor("empty", DType::f32, {4, 5}, {{4, 0}, {0, 5}}),
      tensor("complex", DType::c128, {6}, {{1}, {2}}),
      tensor("complex scalar", DType::c128, {}, {}),
      tensor("quote \" backslash \\ newline \n umlaut ü 字 \x7f", DType::u8, {3}, {{0}, {3}}),
      tensor("", DType::i16, {2}, {{0}, {2}}),
  };
  for (const DType dtype : all_dtypes())
    tensors.push_back(tensor(fmt::format("all.{}", to_string(dtype)), dtype, {2, 3}, {{0, 1}, {2, 2}}));
  return tensors;
}

std::vector<BlockDigest> digests(std::size_t count) {
  std::vector<BlockDigest> blocks;
  for (std::size_t i = 0; i < count; ++i) blocks.push_back(block_digest(as_bytes(std::to_string(i))));
  return blocks;
}

Bytes encode(const SegmentLayout& layout) { return encode_segment_header(layout, digests(layout.block_count()), "step-7.a3"); }

std::string message_of(std::vector<SegmentTensor> tensors, std::uint32_t block_bytes = default_block_bytes) {
  const auto layout = lay_out_segment(std::move(tensors), block_bytes);
  EXPECT_FALSE(layout);
  return layout ? "" : layout.error().message;
}

TEST(Segment, LaysBoxesOutInOrderWithoutHoles) {
  const auto layout = lay_out_segment({tensor("a", DType::u8, {3}, {{0}, {3}}), tensor("b", DType::f32, {8, 2}, {{4, 0}, {2, 2}})}, 8);
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->tensors[0].offset, 0u);
  EXPECT_EQ(layout->tensors[0].bytes, 3u);
  EXPECT_EQ(layout->tensors[1].offset, 3u);
  EXPECT_EQ(layout->tensors[1].bytes, 16u);
  EXPECT_EQ(layout->data_bytes, 19u);
  EXPECT_EQ(layout->header_bytes, 4096u);
  EXPECT_EQ(layout->block_count(), 1u + 2u);
  EXPECT_EQ(layout->file_bytes(), 4096u + 19u);
}

TEST(Segment, EachTensorIsCutIntoBlocksOfItsOwn) {
  const auto layout = lay_out_segment({tensor("a", DType::u8, {20}, {{0}, {20}}), tensor("none", DType::u8, {0}, {{0}, {0}}),
                                       tensor("b", DType::u8, {8}, {{0}, {8}}), tensor("c", DType::u8, {3}, {{0}, {3}})},
                                      8);
  ASSERT_TRUE(layout);
  ASSERT_EQ(layout->block_count(), 5u);
  const std::vector<std::array<std::uint64_t, 3>> expected = {{0, 0, 8}, {0, 8, 8}, {0, 16, 4}, {2, 20, 8}, {3, 28, 3}};
  for (std::size_t number = 0; number < expected.size(); ++number) {
    const SegmentBlock block = layout->block(number);
    EXPECT_EQ((std::array<std::uint64_t, 3>{block.tensor, block.offset, block.bytes}), expected[number]) << number;
  }
}

TEST(Segment, HeaderGivesBackWhatWasWritten) {
  for (const std::uint32_t block_bytes : {1u, 7u, 4096u}) {
    const auto layout = lay_out_segment(mixed_tensors(), block_bytes);
    ASSERT_TRUE(layout) << layout.error().message;
    const Bytes bytes = encode(*layout);
    ASSERT_EQ(bytes.size(), layout->header_bytes);
    EXPECT_EQ(layout->header_bytes % segment_alignment, 0u);
    EXPECT_EQ(segment_header_bytes(bytes, "x"), layout->header_bytes);
    const auto header = decode_segment_header(bytes, "x");
    ASSERT_TRUE(header) << header.error().message;
    EXPECT_EQ(*header, (SegmentHeader{*layout, digests(layout->block_count()), "step-7.a3"}));
  }
}

TEST(Segment, WithoutTensorsIsAFileToo) {
  const auto layout = lay_out_segment({}, default_block_bytes);
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->block_count(), 0u);
  EXPECT_EQ(decode_segment_header(encode(*layout), "x")->layout, *layout);
}

TEST(Segment, IsASafetensorsFileWithPyTorchsShardingInfo) {
  const auto layout = lay_out_segment(mixed_tensors(), 64);
  const auto header = decode_safetensors_header(encode(*layout), "x");
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->metadata.at("DCP_VERSION"), "1.0");
  EXPECT_EQ(header->metadata.at("format"), "pt");
  EXPECT_EQ(header->metadata.at("DCP_SHARDING_INFO").substr(0, 62), R"({"wte": {"saved_offsets": [2, 0]}, "scalar": {"saved_offsets":)");
  const auto offsets = saved_offsets(*header, "x");
  ASSERT_TRUE(offsets) << offsets.error().message;
  EXPECT_EQ(header->tensors[0].shape, (Dims{3, 4}));
  EXPECT_EQ(offsets->at(0), (Dims{2, 0}));
  EXPECT_EQ(header->data_bytes, layout->data_bytes);
}

TEST(Segment, StoresComplex128AsPairsOfF64) {
  const auto layout = lay_out_segment({tensor("c", DType::c128, {6, 2}, {{1, 0}, {2, 2}})}, 64);
  const auto header = decode_safetensors_header(encode(*layout), "x");
  ASSERT_TRUE(header);
  EXPECT_EQ(header->tensors[0].dtype, "F64");
  EXPECT_EQ(header->tensors[0].shape, (Dims{2, 2, 2}));
  EXPECT_EQ(saved_offsets(*header, "x")->at(0), (Dims{1, 0, 0}));
  EXPECT_EQ(decode_segment_header(encode(*layout), "x")->layout.tensors[0].dtype, DType::c128);
}

TEST(Segment, HeaderSizeIsKnownBeforeDigestsAndGeneration) {
  const auto layout = lay_out_segment(mixed_tensors(), 1);
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, generation_bytes_max}) {
    const std::string generation(size, 'g');
    const Bytes bytes = encode_segment_header(*layout, std::vector<BlockDigest>(layout->block_count()), generation);
    EXPECT_EQ(bytes.size(), layout->header_bytes);
    EXPECT_EQ(decode_segment_header(bytes, "x")->generation, generation);
  }
}

TEST(Segment, NoFlippedBitOfTheHeaderIsReadAsTheSameHeader) {
  const auto layout = lay_out_segment({tensor("w", DType::c128, {4}, {{2}, {2}}), tensor("b", DType::bf16, {3}, {{0}, {3}})}, 16);
  const Bytes good = encode(*layout);
  const auto original = decode_segment_header(good, "x");
  ASSERT_TRUE(original);
  const std::size_t json_end = as_text(good).find_last_not_of(' ') + 1;
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    if (bit / 8 > json_end && bit % 8 != bit / 8 % 8) continue;  // one bit of each byte of the padding will do
    Bytes bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto header = decode_segment_header(bad, "x");
    EXPECT_TRUE(!header || *header != *original) << "bit " << bit;
  }
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(decode_segment_header(ByteView(good).first(size), "x")) << size;
}

TEST(Segment, SaysWhatCannotBeLaidOut) {
  const auto one = tensor("a", DType::u8, {3}, {{0}, {3}});
  EXPECT_EQ(message_of({one, one}), R"(lay out segment: tensor "a" twice; a segment holds one box of a tensor)");
  EXPECT_EQ(message_of({tensor("a", DType::u8, {3}, {{1}, {3}})}), R"(lay out segment: tensor "a": box [1]+[3] outside shape [3])");
  EXPECT_EQ(message_of({tensor("a\xff", DType::u8, {}, {})}), "lay out segment: tensor name \"a\xff\" is not UTF-8");
  EXPECT_EQ(message_of({tensor("__metadata__", DType::u8, {}, {})}), R"(lay out segment: no tensor can be named "__metadata__")");
  EXPECT_EQ(message_of({one}, 0), "lay out segment: blocks of 0 bytes");
  const std::int64_t half = std::int64_t{1} << 61;
  EXPECT_EQ(message_of({tensor("a", DType::f32, {half}, {{0}, {half}})}), R"(lay out segment: over 2^62 bytes with tensor "a")");
  EXPECT_EQ(message_of({tensor("a", DType::u8, {half}, {{0}, {half}})}, 1),
            "lay out segment: a header of 4611686018427388286 bytes for 1 tensors and 2305843009213693952 blocks; at most 99995904 can be "
            "read back");
  EXPECT_EQ(message_of({tensor("a", DType::u8, {half, 4}, {})}),
            R"(lay out segment: tensor "a": shape [2305843009213693952,4]: over 2^62 elements)");
}

TEST(Segment, IsNotTakenFromAForeignFileOrAnotherVersion) {
  const auto decode = [](std::string_view json) {
    Encoder out;
    out.u64(json.size());
    out.raw(as_bytes(json));
    return decode_segment_header(out.bytes(), "x").error();
  };
  EXPECT_EQ(decode("{}").message, R"("x": a safetensors file, but no segment of a checkpoint: it has no key "holdfast")");
  const Error version = decode(R"({"__metadata__":{"holdfast":"3"}})");
  EXPECT_EQ(version.code, ErrorCode::unsupported);
  EXPECT_EQ(version.message, R"("x": segment format version "3", this program reads version 2)");
  EXPECT_EQ(decode(R"({"__metadata__":{"holdfast":"2"}})").message,
            R"("x": the segment header's own entries (holdfast_*) do not fit its tensors)");
  EXPECT_EQ(segment_header_bytes({}, "x").error().message, R"("x": 0 bytes, too short for a safetensors file)");
}

TEST(Segment, SaysWhereAHeaderDiffersFromWhatIsWritten) {
  const auto layout = lay_out_segment({tensor("w", DType::u8, {4}, {{2}, {2}})}, 16);
  Bytes bytes = encode(*layout);
  bytes.back() = std::byte{'\n'};
  const auto header = decode_segment_header(bytes, "x");
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().message.substr(0, 70), R"("x": the segment header is not as it was written: it differs from byte)");
}

}  // namespace
}  // namespace holdfast::format
