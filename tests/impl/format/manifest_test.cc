#include "impl/format/manifest.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "impl/core/encoding.h"
#include "tests/impl/core/random.h"

namespace holdfast::format {
namespace {

using holdfast::testing::Random;

Manifest small_manifest() {
  Manifest manifest;
  manifest.step = Step{1000};
  manifest.attempt = 3;
  manifest.sequence = 42;
  manifest.parent = "step-900.a2";
  manifest.world_size = 2;
  manifest.block_bytes = 1 << 20;
  manifest.segments = {{segment_name(Rank{0}, 0), 4096 + 64, 4096, {1, 2}},
                       {segment_name(Rank{1}, 7), 8192 + 100, 8192, {3, 4}},
                       {"other/s", 4096, 4096, {5, 6}}};
  manifest.tensors["wte"] = {{DType::bf16, {8, 4}, ChunkSet({{{0, 0}, {4, 4}}, {{4, 0}, {4, 4}}}, {8, 4})}, {{0, 0}, {1, 8}}, {{7, 8}}};
  manifest.tensors["ragged"] = {{DType::f32, {2, 3}, ChunkSet({{{0, 0}, {1, 3}}, {{1, 0}, {1, 1}}, {{1, 1}, {1, 2}}}, {2, 3})},
                                {{0, 32}, {0, 44}, {1, 40}},
                                {{9, 10}}};
  manifest.tensors["scalar"] = {{DType::f64, {}, ChunkSet({Box{}}, {})}, {{1, 48}}, {{11, 12}}};
  manifest.tensors["nobody's"] = {{DType::u8, {0}, ChunkSet()}, {}, {{0, 0}}};
  manifest.bytes["trainer"] = {"bytes-00000-000", 5, {13, 14}};
  manifest.bytes["a"] = {"bytes-00000-001", 0, {15, 16}};
  manifest.planner_data = to_bytes(as_bytes("plan"));
  return manifest;
}

Result<ManifestReader> open(Bytes bytes) { return ManifestReader::open(SharedBytes(std::move(bytes)), "m"); }

/// Replaces the digest at the end by the right one: what is wrong inside must be found by other means.
Bytes with_right_digest(Bytes bytes) {
  const BlockDigest digest = block_digest(ByteView(bytes).first(bytes.size() - 16));
  Encoder out;
  out.u64(digest.low);
  out.u64(digest.high);
  std::ranges::copy(out.bytes(), bytes.end() - 16);
  return bytes;
}

void put(Bytes& bytes, std::size_t offset, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) bytes[offset + i] = std::byte(static_cast<std::uint8_t>(value >> (8 * i)));
}

std::string refusal(Bytes bytes) {
  const auto manifest = open(std::move(bytes));
  EXPECT_FALSE(manifest);
  return manifest ? "" : manifest.error().message;
}

/// Calls every accessor with every index.
void read_everything(const ManifestReader& reader) {
  for (std::size_t i = 0; i < reader.segment_count(); ++i) EXPECT_TRUE(reader.segment(i));
  for (std::size_t t = 0; t < reader.tensor_count(); ++t) {
    EXPECT_EQ(reader.find(reader.tensor_name(t)), t);
    EXPECT_EQ(reader.tensor_metadata(t).chunks.size(), reader.chunk_count(t));
    for (std::size_t c = 0; c < reader.chunk_count(t); ++c) EXPECT_LT(reader.location(t, c).segment, reader.segment_count());
    reader.digest(t);
  }
  for (std::size_t i = 0; i < reader.bytes_count(); ++i) EXPECT_TRUE(reader.bytes(reader.bytes_name(i)));
  EXPECT_EQ(reader.metadata().entries.size(), reader.tensor_count() + reader.bytes_count());
}

TEST(Manifest, GivesBackWhatWasWritten) {
  const Manifest manifest = small_manifest();
  const auto reader = open(encode_manifest(manifest));
  ASSERT_TRUE(reader) << reader.error().message;
  const auto decoded = reader->decode();
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(*decoded, manifest);
  read_everything(*reader);
}

TEST(Manifest, AnswersWithoutDecodingTheRest) {
  const auto reader = open(encode_manifest(small_manifest()));
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->step(), Step{1000});
  EXPECT_EQ(reader->attempt(), 3u);
  EXPECT_EQ(reader->sequence(), 42u);
  EXPECT_EQ(reader->parent(), "step-900.a2");
  EXPECT_EQ(reader->world_size(), 2);
  EXPECT_EQ(reader->block_bytes(), 1u << 20);
  EXPECT_EQ(as_text(reader->planner_data()), "plan");
  EXPECT_EQ(reader->segment_count(), 3u);
  EXPECT_EQ(*reader->segment(1), (SegmentRecord{"segment-00001-007.safetensors", 8292, 8192, {3, 4}}));
  EXPECT_EQ(reader->segment(3).error().message, R"(manifest "m": segment 3 of 3)");
  const auto wte = reader->find("wte");
  ASSERT_TRUE(wte);
  EXPECT_EQ(reader->location(*wte, 1), (ChunkLocation{1, 8}));
  EXPECT_EQ(reader->digest(*wte), (TensorDigest{{7, 8}}));
  EXPECT_EQ(reader->find("wtf"), std::nullopt);
  EXPECT_EQ(reader->bytes("trainer")->path, "bytes-00000-000");
  EXPECT_EQ(reader->bytes("nope").error(), (Error{ErrorCode::not_found, R"(manifest "m": no byte value "nope")"}));
}

TEST(Manifest, EmptyIsAManifestToo) {
  Manifest manifest;
  manifest.block_bytes = 1;
  const Bytes bytes = encode_manifest(manifest);
  EXPECT_EQ(bytes.size(), 88u + 16u);
  EXPECT_EQ(*open(bytes)->decode(), manifest);
}

TEST(Manifest, RejectsATailCutAtAnyByte) {
  const Bytes good = encode_manifest(small_manifest());
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(open(Bytes(good.begin(), good.begin() + size))) << size << " bytes";
}

TEST(Manifest, RejectsEveryFlippedBit) {
  const Bytes good = encode_manifest(small_manifest());
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(open(std::move(bad))) << "bit " << bit;
  }
}

TEST(Manifest, TellsAnotherVersionFromDamage) {
  Bytes bytes = encode_manifest(small_manifest());
  bytes[8] = std::byte{2};
  const auto manifest = open(bytes);
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error(), (Error{ErrorCode::unsupported, R"(manifest "m": format version 2, this program reads version 1)"}));
  bytes[0] = std::byte{'h'};
  EXPECT_EQ(refusal(bytes), R"(manifest "m": no manifest: it does not begin with HOLDFAST)");
  EXPECT_EQ(refusal({}), R"(manifest "m": 0 bytes, too short for a manifest)");
}

TEST(Manifest, SaysWhatIsWrongBehindARightDigest) {
  const Bytes good = encode_manifest(small_manifest());
  const auto changed = [&](std::size_t offset, std::uint64_t value, std::size_t size) {
    Bytes bytes = good;
    put(bytes, offset, value, size);
    return refusal(with_right_digest(std::move(bytes)));
  };
  const std::size_t tensors = 88 + 3 * 40;
  const std::size_t values = tensors + 4 * 40;
  const std::size_t locations = values + 2 * 40;
  EXPECT_EQ(changed(23, 0x80, 1), R"(manifest "m": step -9223372036854774808)");
  EXPECT_EQ(changed(32, 0, 4), R"(manifest "m": world size 0)");
  EXPECT_EQ(changed(36, 0, 4), R"(manifest "m": blocks of 0 bytes)");
  EXPECT_EQ(changed(40, 0xffffffff, 4), fmt::format(R"(manifest "m": its parts do not add up to its {} bytes)", good.size()));
  EXPECT_EQ(changed(56, ~std::uint64_t{0}, 8), fmt::format(R"(manifest "m": its parts do not add up to its {} bytes)", good.size()));
  EXPECT_EQ(changed(88, 0x80000000, 4), R"(manifest "m": a segment of rank 2147483648)");
  EXPECT_EQ(changed(88 + 12, 0xffffffff, 4), R"(manifest "m": a segment that is shorter than its header)");
  EXPECT_EQ(changed(tensors, 0, 4), R"(manifest "m": the text of a tensor name is said to be 0+8, expected it at 18 of 79)");
  EXPECT_EQ(changed(tensors + 16, 1, 8), R"(manifest "m": tensor "nobody's": chunks [1, 0))");
  EXPECT_EQ(changed(locations, 3, 4), R"(manifest "m": a chunk in segment 3 of 3)");
  EXPECT_EQ(changed(locations + 4, 65, 8), R"(manifest "m": a chunk at 65 of 64 bytes of segment 0)");
  EXPECT_EQ(changed(locations + 6 * 12, 99, 1), R"(manifest "m": tensor "nobody's": dtype code 99)");
}

TEST(Manifest, RefusesPathsThatLeaveTheDirectory) {
  for (const std::string_view path : {"../../x", "/bin/sh", "a/../bc", "a//bcde", "./bcdef", "abcdef/", "abc\0def"}) {
    Bytes bytes = encode_manifest(small_manifest());
    const std::string_view text = as_text(bytes);
    const auto place = text.find("other/s");
    ASSERT_NE(place, std::string_view::npos);
    Bytes replacement = to_bytes(as_bytes(std::string(path) + std::string(7 - std::min<std::size_t>(7, path.size()), '/')));
    std::copy_n(replacement.begin(), 7, bytes.begin() + static_cast<std::ptrdiff_t>(place));
    EXPECT_EQ(refusal(with_right_digest(bytes)).substr(0, 28), R"(manifest "m": segment path ")") << path;
  }
}

TEST(Manifest, RandomDamageBehindARightDigestNeverCrashes) {
  const Bytes good = encode_manifest(small_manifest());
  Random random(1);
  int opened = 0;
  for (int round = 0; round < 40000; ++round) {
    Bytes bad = good;
    for (std::uint64_t changes = 1 + random.below(3); changes-- > 0;) {
      const std::size_t at = 12 + random.below(bad.size() - 28);
      bad[at] =
          random.below(2) ? std::byte(static_cast<std::uint8_t>(random.next())) : std::byte(static_cast<std::uint8_t>(random.below(4)));
    }
    const auto reader = open(with_right_digest(std::move(bad)));
    if (!reader) continue;
    ++opened;
    read_everything(*reader);
    const auto decoded = reader->decode();
    if (!decoded) continue;
    const auto again = open(encode_manifest(*decoded));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again->decode(), *decoded);
  }
  EXPECT_GT(opened, 1000) << "the damage hardly ever reaches the accessors";
}

TEST(Manifest, DecodeRefusesChunksBeyondTheirSegment) {
  Manifest manifest = small_manifest();
  manifest.tensors["wte"].locations[0].offset = 33;
  const auto decoded = open(encode_manifest(manifest))->decode();
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().message, R"(manifest "m": tensor "wte" chunk 0: 16 elements of BF16 at 33 do not fit into the 64 bytes of )"
                                     R"("segment-00000-000.safetensors")");
  manifest = small_manifest();
  manifest.segments[1].path = manifest.segments[0].path;
  EXPECT_EQ(open(encode_manifest(manifest))->decode().error().message, R"(manifest "m": segment "segment-00000-000.safetensors" twice)");
}

TEST(Manifest, KeepsEvenCutsAndDefaultPathsForNothing) {
  Manifest manifest;
  manifest.block_bytes = 1;
  const std::int64_t ranks = 1000;
  std::vector<Box> boxes;
  TensorRecord record;
  for (std::int64_t r = 0; r < ranks; ++r) {
    manifest.segments.push_back({segment_name(Rank{static_cast<std::int32_t>(r)}, 0), 4096 + 64, 4096, {}});
    boxes.push_back({{r, 0}, {1, 16}});
    record.locations.push_back({static_cast<std::uint32_t>(r), 0});
  }
  record.metadata = {DType::f32, {ranks, 16}, ChunkSet(boxes, {ranks, 16})};
  manifest.tensors["w"] = record;
  const Bytes bytes = encode_manifest(manifest);
  EXPECT_LT(bytes.size(), 88u + 1000u * 40u + 1000u * 12u + 100u);
  EXPECT_EQ(*open(bytes)->decode(), manifest);
}

TEST(Manifest, SegmentNamesGrowPastTheirDigits) {
  EXPECT_EQ(segment_name(Rank{0}, 0), "segment-00000-000.safetensors");
  EXPECT_EQ(segment_name(Rank{123456}, 1234), "segment-123456-1234.safetensors");
  Manifest manifest;
  manifest.block_bytes = 1;
  for (const std::string path :
       {"segment-123456-1234.safetensors", "segment-0-0.safetensors", "segment-00000-000", "segment-", "segment-00001-000.safetensors"}) {
    manifest.segments.push_back({path, 4096, 4096, {}});
  }
  EXPECT_EQ(*open(encode_manifest(manifest))->decode(), manifest);
}

}  // namespace
}  // namespace holdfast::format
