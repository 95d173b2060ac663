#include "impl/format/manifest.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "impl/core/encoding.h"
#include "tests/impl/core/random.h"

namespace holdfast::format {
namespace {

using holdfast::testing::Random;

/// Three ranks' rows of an [8,4] tensor, and their flat runs of it: cut anywhere, so that a rank holds up to three boxes.
MeshLayout rows_of_3() { return {packed_mesh(std::vector<std::int64_t>{3}), {Shard{0}}, {}}; }
MeshLayout runs_of_3(std::int64_t offset) {
  return {packed_mesh(std::vector<std::int64_t>{3}), {Replicate{}}, FlatCut{{0}, offset, 14, 1}};
}

/// Every form of layout; "m" and "v" share theirs, "p" their shape.
Manifest small_manifest() {
  Manifest manifest;
  manifest.step = Step{1000};
  manifest.attempt = 3;
  manifest.sequence = 42;
  manifest.parent = "step-900.a2";
  manifest.world_size = 3;
  manifest.block_bytes = 1 << 20;
  for (std::int32_t rank = 0; rank < 3; ++rank) {
    for (std::uint16_t number = 0; number < 3; ++number) {
      const auto seed = static_cast<std::uint64_t>(rank * 3 + number);
      manifest.segments.push_back({{Rank{rank}, number}, 8192 + 64 * seed, 4096 * (1 + seed % 2), {seed, seed + 1}});
    }
  }
  const Dims shape{8, 4};
  manifest.tensors["grid"] = {{DType::bf16, shape, ChunkSet({{{0, 0}, {4, 4}}, {{4, 0}, {4, 4}}}, shape)}, {0, 3}, {{7, 8}}};
  manifest.tensors["list"] = {
      {DType::f32, {2, 3}, ChunkSet({{{0, 0}, {1, 3}}, {{1, 0}, {1, 1}}, {{1, 1}, {1, 2}}}, {2, 3})}, {8, 0, 4}, {{9, 10}}};
  manifest.tensors["m"] = {{DType::f32, shape, ChunkSet(runs_of_3(10), shape)}, {}, {{1, 2}}};
  manifest.tensors["v"] = {{DType::f32, shape, ChunkSet(runs_of_3(10), shape)}, {}, {{3, 4}}};
  manifest.tensors["p"] = {{DType::bf16, shape, ChunkSet(rows_of_3(), shape)}, {}, {{5, 6}}};
  manifest.tensors["scalar"] = {{DType::f64, {}, ChunkSet({Box{}}, {})}, {1}, {{11, 12}}};
  manifest.tensors["nobody's"] = {{DType::u8, {0}, ChunkSet()}, {}, {{0, 0}}};
  manifest.bytes["trainer"] = {Rank{0}, 0, 5, {13, 14}};
  manifest.bytes["a"] = {Rank{2}, 1, 0, {15, 16}};
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

/// Calls every accessor with every index; of meshes with many ranks only the first chunk is looked up.
void read_everything(const ManifestReader& reader) {
  for (std::size_t i = 0; i < reader.segment_count(); ++i) EXPECT_EQ(reader.find_segment(reader.segment(i).id), i);
  for (std::size_t t = 0; t < reader.tensor_count(); ++t) {
    EXPECT_EQ(reader.find(reader.tensor_name(t)), t);
    const TensorRecord record = reader.tensor(t);
    EXPECT_EQ(record.digest, reader.digest(t));
    const ChunkSet::OfMesh* mesh = record.metadata.chunks.mesh();
    if (mesh && mesh->layout.mesh.size() > 100) {
      (void)reader.segment_of(record, 0);
      continue;
    }
    record.metadata.chunks.for_each([&](ChunkSet::Id id, const Box& box) {
      EXPECT_TRUE(in_bounds(box, record.metadata.shape));
      const auto segment = reader.segment_of(record, id);
      EXPECT_TRUE(segment ? *segment < reader.segment_count() : mesh != nullptr);
    });
  }
  for (std::size_t i = 0; i < reader.bytes_count(); ++i) EXPECT_TRUE(reader.bytes(reader.bytes_name(i)));
  EXPECT_EQ(reader.metadata().entries.size(), reader.tensor_count() + reader.bytes_count());
}

/// What opens is read in full, and must say the same when it is written again. False when it does not open.
bool opens_soundly(Bytes bytes) {
  const auto reader = open(std::move(bytes));
  if (!reader) {
    EXPECT_EQ(reader.error().code, ErrorCode::corrupt) << reader.error().message;
    return false;
  }
  read_everything(*reader);
  const Manifest decoded = reader->decode();
  const auto again = open(encode_manifest(decoded));
  EXPECT_TRUE(again && again->decode() == decoded);
  return true;
}

TEST(Manifest, GivesBackWhatWasWritten) {
  const Manifest manifest = small_manifest();
  const auto reader = open(encode_manifest(manifest));
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->decode(), manifest);
  read_everything(*reader);
}

TEST(Manifest, AnswersWithoutDecodingTheRest) {
  const auto reader = open(encode_manifest(small_manifest()));
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->step(), Step{1000});
  EXPECT_EQ(reader->attempt(), 3u);
  EXPECT_EQ(reader->sequence(), 42u);
  EXPECT_EQ(reader->parent(), "step-900.a2");
  EXPECT_EQ(reader->world_size(), 3);
  EXPECT_EQ(reader->block_bytes(), 1u << 20);
  EXPECT_EQ(as_text(reader->planner_data()), "plan");
  EXPECT_EQ(reader->segment_count(), 9u);
  EXPECT_EQ(reader->segment(1), (SegmentRecord{{Rank{0}, 1}, 8256, 8192, {1, 2}}));
  EXPECT_EQ(reader->segment(8).path(), "segment-00002-002.safetensors");
  EXPECT_EQ(reader->find_segment({Rank{1}, 2}), 5u);
  EXPECT_EQ(reader->find_segment({Rank{1}, 3}), std::nullopt);
  const auto list = reader->find("list");
  ASSERT_TRUE(list);
  EXPECT_EQ(reader->tensor(*list).segments, (std::vector<std::uint32_t>{8, 0, 4}));
  EXPECT_EQ(reader->digest(*list), (TensorDigest{{9, 10}}));
  EXPECT_EQ(reader->find("lisp"), std::nullopt);
  EXPECT_EQ(reader->bytes("trainer")->path(), "bytes-00000-000.bin");
  EXPECT_EQ(reader->bytes("nope").error(), (Error{ErrorCode::not_found, R"(manifest "m": no byte value "nope")"}));
}

TEST(Manifest, ChunksOfAMeshLieWhereTheRuleSays) {
  const Manifest manifest = small_manifest();
  const TensorRecord& record = manifest.tensors.at("m");
  std::vector<std::string> places;
  record.metadata.chunks.for_each([&](ChunkSet::Id id, const Box& box) {
    places.push_back(fmt::format("{} {}", to_string(box), manifest.segments[*manifest.segment_of(record, id)].path()));
  });
  // Runs of 14 elements, of which rank 0 spends 10 on something else: 4, 14 and 14 of the 32.
  EXPECT_EQ(places, (std::vector<std::string>{"[0,0]+[1,4] segment-00000-000.safetensors", "[1,0]+[3,4] segment-00001-000.safetensors",
                                              "[4,0]+[1,2] segment-00001-001.safetensors", "[4,2]+[1,2] segment-00002-000.safetensors",
                                              "[5,0]+[3,4] segment-00002-001.safetensors"}));
  Manifest without = manifest;
  without.segments.erase(without.segments.begin() + 4);
  without.tensors.erase("list");
  const auto reader = open(encode_manifest(without));
  ASSERT_TRUE(reader) << reader.error().message;
  const TensorRecord same = reader->tensor(*reader->find("m"));
  const auto chunk = same.metadata.chunks.find({4, 0});
  ASSERT_TRUE(chunk);
  EXPECT_EQ(reader->segment_of(same, *chunk).error(),
            (Error{ErrorCode::corrupt,
                   "the manifest lacks segment-00001-001.safetensors, in which box [4,0]+[1,2] of mesh(3 from 0) "
                   "[replicate] flat(axes 0 at 10 by 14) lies"}));
  EXPECT_EQ(without.segment_of(same, *chunk).error(), reader->segment_of(same, *chunk).error());
}

TEST(Manifest, EmptyIsAManifestToo) {
  Manifest manifest;
  manifest.block_bytes = 1;
  const Bytes bytes = encode_manifest(manifest);
  EXPECT_EQ(bytes.size(), 88u + 16u);
  EXPECT_EQ(open(bytes)->decode(), manifest);
}

TEST(Manifest, RejectsATailCutAtAnyByte) {
  const Bytes good = encode_manifest(small_manifest());
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(open(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)))) << size << " bytes";
    if (size < 16) continue;
    EXPECT_FALSE(open(with_right_digest(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))))) << size << " bytes";
  }
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
  for (const int version : {1, 3}) {
    bytes[8] = static_cast<std::byte>(version);
    const auto manifest = open(bytes);
    ASSERT_FALSE(manifest);
    EXPECT_EQ(manifest.error(), error(ErrorCode::unsupported, R"(manifest "m": format version {}, this program reads version 2)", version));
  }
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
  const std::size_t tensors = 88 + 9 * 32;
  const std::size_t values = tensors + 7 * 20;
  const std::size_t starts = values + 2 * 32 + 2 * 4;
  EXPECT_EQ(changed(23, 0x80, 1), R"(manifest "m": step -9223372036854774808)");
  EXPECT_EQ(changed(32, 0, 4), R"(manifest "m": world size 0, expected 1 to 16777216)");
  EXPECT_EQ(changed(32, 16777217, 4), R"(manifest "m": world size 16777217, expected 1 to 16777216)");
  EXPECT_EQ(changed(32, 2, 4), R"(manifest "m": a segment of rank 2 of 2)");
  EXPECT_EQ(changed(36, 0, 4), R"(manifest "m": blocks of 0 bytes)");
  EXPECT_EQ(changed(40, 0xffffffff, 4),
            fmt::format(R"(manifest "m": its parts add up to {} bytes, it has {})", good.size() + (0xffffffffull - 9) * 32, good.size()));
  EXPECT_EQ(changed(88, 1, 4), R"(manifest "m": segment-00000-001.safetensors twice or out of order)");
  EXPECT_EQ(changed(88 + 6, 0, 2), R"(manifest "m": segment-00000-000.safetensors: 8192 bytes with a header of 0)");
  EXPECT_EQ(changed(88 + 6, 3, 2), R"(manifest "m": segment-00000-000.safetensors: 8192 bytes with a header of 12288)");
  EXPECT_EQ(changed(tensors + 16, 1, 3), R"(manifest "m": tensor "grid": layout 1 of 6, before 0)");
  EXPECT_EQ(changed(tensors + 19, 99, 1), R"(manifest "m": tensor "grid": dtype code 99)");
  EXPECT_EQ(changed(tensors + 5 * 20 + 16, 0, 3), R"(manifest "m": 5 of 6 layouts are used)");
  EXPECT_EQ(changed(values, 3, 4), R"(manifest "m": a byte value of rank 3 of 3)");
  EXPECT_EQ(changed(starts - 8, 1, 4), R"(manifest "m": tensors: the first block of names does not start at 0)");
  EXPECT_EQ(changed(starts + 4, 0, 4),
            fmt::format(R"(manifest "m": entry 1 of the layouts starts at 0 of {}, the one before at 0)", std::to_integer<int>(good[68])));
}

TEST(Manifest, EveryFlippedBitBehindARightDigestIsRefusedOrSound) {
  const Bytes good = encode_manifest(small_manifest());
  int opened = 0;
  for (std::size_t bit = 96; bit < (good.size() - 16) * 8; ++bit) {  // behind magic and version
    Bytes bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    opened += opens_soundly(with_right_digest(std::move(bad)));
  }
  EXPECT_GT(opened, 1000) << "the damage hardly ever reaches the accessors";
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
    opened += opens_soundly(with_right_digest(std::move(bad)));
  }
  EXPECT_GT(opened, 1000) << "the damage hardly ever reaches the accessors";
}

/// What open() says of a manifest with one tensor of such a layout, over `world_size` ranks.
std::string refusal(const MeshLayout& layout, const Dims& shape, std::int32_t world_size = 4) {
  Manifest manifest;
  manifest.block_bytes = 1;
  manifest.world_size = world_size;
  manifest.tensors["w"] = {{DType::u8, shape, ChunkSet(layout, shape)}, {}, {}};
  return refusal(encode_manifest(manifest));
}

TEST(Manifest, RefusesMeshesThatCannotBe) {
  const auto mesh = [](std::initializer_list<std::int64_t> sizes, std::int64_t first = 0) {
    return packed_mesh(std::vector(sizes), first);
  };
  const std::int64_t big = std::int64_t{1} << 31;
  EXPECT_EQ(refusal({mesh({3}, 2), {Shard{0}}, {}}, {8}), R"(manifest "m": layout 0: mesh(3 from 2): the job has 4 ranks)");
  EXPECT_EQ(refusal({mesh({big}), {Shard{0}}, {}}, {8}), R"(manifest "m": mesh 0: 2147483648 where at most 2147483647 can be)");
  EXPECT_EQ(refusal({mesh({1 << 30, 1 << 30}), {Shard{0}, Shard{0}}, {}}, {8}),
            R"(manifest "m": layout 0: mesh(1073741824x1073741824 from 0): it passes rank 2^31)");
  EXPECT_EQ(refusal({mesh({1}, big), {Shard{0}}, {}}, {8}), R"(manifest "m": layout 0: 2147483648 where at most 2147483647 can be)");
  EXPECT_EQ(refusal({{0, {{2, 1}, {2, 1}}}, {Shard{0}, Shard{0}}, {}}, {8}),
            R"(manifest "m": layout 0: mesh(2:1x2:1 from 0): two positions would be the same rank)");
  EXPECT_EQ(refusal({mesh({2, 2}), {Shard{0}, Replicate{}}, {}}, {8}),
            R"(manifest "m": layout 0: mesh(2x2 from 0) [shard(0),replicate]: the ranks along axis 1 hold the same)");
  EXPECT_EQ(refusal({mesh({2}), {Shard{1}}, {}}, {8}),
            R"(manifest "m": layout 0: mesh(2 from 0) [shard(1)]: placement 0 of a tensor of shape [8]: there is no dimension 1)");
  EXPECT_EQ(refusal({mesh({2}), {StridedShard{0, 70000}}, {}}, {8}), R"(manifest "m": cut 0: 70000 where at most 65536 can be)");
  EXPECT_EQ(refusal({mesh({2, 2}), {StridedShard{0, 300}, StridedShard{0, 300}}, {}}, {8}),
            R"(manifest "m": cut 0: placements that make over 65536 boxes a rank)");
  EXPECT_EQ(
      refusal({mesh({2, 2}), {StridedShard{0, 60000}, Replicate{}}, FlatCut{{1}, 0, 100, 1}}, {8, 2}),
      R"(manifest "m": layout 0: mesh(2x2 from 0) [strided(0 by 60000),replicate] flat(axes 1 at 0 by 100): up to 180000 boxes a rank, )"
      "at most 65536 can be");
  EXPECT_EQ(
      refusal({mesh({2}), {Replicate{}}, FlatCut{{0}, 0, 3, 1}}, {8}),
      R"(manifest "m": layout 0: mesh(2 from 0) [replicate] flat(axes 0 at 0 by 3): 2 runs of 3 elements do not reach the end of 8 at 0)");
  // The largest that can be is opened in no time, and a chunk looked up in it.
  Manifest manifest;
  manifest.block_bytes = 1;
  manifest.world_size = world_size_max;
  const Dims shape{std::int64_t{1} << 40};
  manifest.tensors["w"] = {
      {DType::u8, shape, ChunkSet({mesh({1 << 12, 1 << 12}), {Replicate{}, Shard{0}}, FlatCut{{0}, 0, 1 << 16, 1}}, shape)}, {}, {}};
  const auto reader = open(encode_manifest(manifest));
  ASSERT_TRUE(reader) << reader.error().message;
  const TensorRecord record = reader->tensor(0);
  EXPECT_EQ(reader->segment_of(record, *record.metadata.chunks.find({(std::int64_t{1} << 28) + (1 << 16)})).error().message.substr(0, 54),
            "the manifest lacks segment-04097-000.safetensors, in w");
}

TEST(Manifest, KeepsRulesForNothing) {
  // 1,000 ranks: the segments cost 32 bytes each; a grid, a mesh and what shares their cut hardly anything.
  Manifest manifest;
  manifest.block_bytes = 1;
  manifest.world_size = 1000;
  const Dims shape{1000, 16};
  TensorRecord grid;
  std::vector<Box> boxes;
  for (std::int32_t r = 0; r < 1000; ++r) {
    manifest.segments.push_back({{Rank{r}, 0}, 4096 + 64, 4096, {}});
    boxes.push_back({{r, 0}, {1, 16}});
    grid.segments.push_back(static_cast<std::uint32_t>(r));
  }
  grid.metadata = {DType::f32, shape, ChunkSet(boxes, shape)};
  TensorRecord mesh{{DType::f32, shape, ChunkSet({packed_mesh(std::vector<std::int64_t>{1000}), {Shard{0}}, {}}, shape)}, {}, {}};
  const auto bytes_with = [&](const std::string& name, const TensorRecord& record) {
    manifest.tensors[name] = record;
    const Bytes bytes = encode_manifest(manifest);
    EXPECT_EQ(open(bytes)->decode(), manifest);
    return bytes.size();
  };
  const std::size_t alone = 88 + 16 + 1000 * 32;
  const std::size_t with_grid = bytes_with("grid.0", grid);
  EXPECT_LT(with_grid, alone + 20 + 4 + 50);
  EXPECT_LT(bytes_with("grid.1", grid), with_grid + 20 + 4);
  const std::size_t with_mesh = bytes_with("mesh.0", mesh);
  EXPECT_LT(with_mesh, with_grid + 100);
  EXPECT_LT(bytes_with("mesh.1", mesh), with_mesh + 20 + 4);
}

TEST(Manifest, NamesOfFilesGrowPastTheirDigits) {
  EXPECT_EQ(segment_name({Rank{0}, 0}), "segment-00000-000.safetensors");
  EXPECT_EQ(segment_name({Rank{123456}, 1234}), "segment-123456-1234.safetensors");
  EXPECT_EQ(value_name(Rank{7}, 12), "bytes-00007-012.bin");
  EXPECT_EQ(segment_of_box(Rank{3}, 65535), (SegmentId{Rank{3}, 65535}));
}

}  // namespace
}  // namespace holdfast::format
