#include "impl/protocol/build_manifest.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "properties/workload/recording_storage.h"

namespace holdfast::protocol {
namespace {

using Results = std::vector<std::vector<WriteResult>>;

constexpr std::int32_t ranks = 3;

/// "m": flat runs that give ranks 1 and 2 two boxes each; "e": a mesh's tensor without elements; "list": named boxes; "v": a value.
Metadata sample() {
  Metadata metadata;
  const Mesh mesh = packed_mesh(std::vector<std::int64_t>{ranks});
  const MeshLayout runs{mesh, {Replicate{}}, FlatCut{{0}, 10, 14, 1}};
  metadata.entries["m"] = TensorMetadata{DType::f32, {8, 4}, ChunkSet(runs, {8, 4})};
  metadata.entries["e"] = TensorMetadata{DType::f32, {0, 4}, ChunkSet(MeshLayout{mesh, {Shard{1}}, {}}, {0, 4})};
  metadata.entries["list"] = TensorMetadata{DType::u8, {5}, ChunkSet({{{0}, {2}}, {{2}, {3}}}, {5})};
  metadata.entries["v"] = BytesMetadata{};
  return metadata;
}

const DurablePart& part() {
  static const DurablePart files = [] {
    std::vector<std::string> names{format::value_name(Rank{2}, 0)};
    for (std::int32_t r = 0; r < ranks; ++r) {
      for (std::uint16_t number = 0; number < 3; ++number) names.push_back(format::segment_name({Rank{r}, number}));
    }
    return properties::durable_part("step-7.a1", names);
  }();
  return files;
}

/// What a rank reports of one segment. Digests count chunks and elements.
void report(std::vector<WriteResult>& results, const Metadata& metadata, format::SegmentId segment,
            const std::vector<std::pair<std::string, Box>>& boxes) {
  TensorPlace place;
  place.segment = format::SegmentRecord{segment, 8192, 4096, {1, 2}};
  for (const auto& [key, box] : boxes) {
    const auto elements = static_cast<std::uint64_t>(box.volume());
    const DType dtype = std::get<TensorMetadata>(metadata.entries.at(key)).dtype;
    place.digest = {{1, elements}};
    results.push_back({{key, box.offset, {}}, elements * size_bytes(dtype), *encode(place, part())});
    place.segment.reset();
  }
}

Results sample_results() {
  const Metadata metadata = sample();
  Results results(ranks);
  report(results[0], metadata, {Rank{0}, 0}, {{"e", whole({0, 4})}, {"m", {{0, 0}, {1, 4}}}, {"list", {{2}, {3}}}});
  report(results[1], metadata, {Rank{1}, 0}, {{"m", {{1, 0}, {3, 4}}}});
  report(results[1], metadata, {Rank{1}, 1}, {{"m", {{4, 0}, {1, 2}}}});
  report(results[2], metadata, {Rank{2}, 0}, {{"m", {{4, 2}, {1, 2}}}, {"list", {{0}, {2}}}});
  report(results[2], metadata, {Rank{2}, 1}, {{"m", {{5, 0}, {3, 4}}}});
  results[2].push_back({{"v", {}, {}}, 3, *encode(format::BytesRecord{Rank{2}, 0, 3, {5, 6}}, part())});
  return results;
}

Result<CommitRecord> build(const Metadata& metadata, const Results& results) {
  return build_manifest({{Step{7}, 1}, {"step-7.a1", 1, ""}, ranks, 64}, metadata, results);
}

std::string refusal(const Results& results) {
  const auto record = build(sample(), results);
  return record ? "" : record.error().message;
}

TEST(BuildManifest, TakesInWhatEveryRankWrote) {
  const auto record = build(sample(), sample_results());
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->checkpoint(), (plan::Committed{{Step{7}, 1}, 1}));
  const format::Manifest manifest = record->reader().decode();
  EXPECT_EQ(manifest.segments.size(), 5u);
  EXPECT_EQ(manifest.tensors.at("m").digest, (TensorDigest{{5, 32}}));
  EXPECT_EQ(manifest.tensors.at("e").digest, (TensorDigest{{1, 0}}));
  EXPECT_EQ(manifest.tensors.at("list").segments, (std::vector<std::uint32_t>{3, 0}));
  EXPECT_EQ(manifest.bytes.at("v"), (format::BytesRecord{Rank{2}, 0, 3, {5, 6}}));
  const SharedBytes encoded = format::encode_manifest(manifest);
  EXPECT_TRUE(std::ranges::equal(record->bytes().view(), encoded.view()));
}

TEST(BuildManifest, RefusesIfAnyResultIsMissingOrComesTwice) {
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    for (std::size_t i = 0; i < sample_results()[rank].size(); ++i) {
      Results results = sample_results();
      const auto at = results[rank].begin() + static_cast<std::ptrdiff_t>(i);
      results[rank].insert(at + 1, *at);
      EXPECT_NE(refusal(results), "") << "rank " << rank << " result " << i << " twice";
      results = sample_results();
      results[rank].erase(results[rank].begin() + static_cast<std::ptrdiff_t>(i));
      EXPECT_NE(refusal(results), "") << "rank " << rank << " result " << i << " missing";
    }
  }
}

TEST(BuildManifest, SaysWhatIsWrong) {
  const auto changed = [](auto change) {
    Results results = sample_results();
    change(results);
    return refusal(results);
  };
  const auto drop = [](std::vector<WriteResult>& list, std::size_t i) { list.erase(list.begin() + static_cast<std::ptrdiff_t>(i)); };
  EXPECT_EQ(changed([&](Results& r) { drop(r[0], 1); }), "commit: the ranks wrote 28 of 32 elements of tensor \"m\", in 4 boxes");
  EXPECT_EQ(changed([&](Results& r) { r[1].clear(); }), "commit: the ranks wrote 18 of 32 elements of tensor \"m\", in 3 boxes");
  EXPECT_EQ(changed([&](Results& r) { drop(r[2], 1); }), "commit: nobody wrote box [0]+[2] of tensor \"list\"");
  EXPECT_EQ(changed([&](Results& r) { drop(r[2], 3); }), "commit: nobody wrote the value \"v\"");
  EXPECT_EQ(changed([&](Results& r) { r[0].push_back(r[0][1]); }), "commit: rank 0 wrote m@[0,0]: it was written before");
  EXPECT_EQ(changed([&](Results& r) { r[0].push_back(r[0][2]); }), "commit: rank 0 wrote list@[2]: it was written before");
  EXPECT_EQ(changed([&](Results& r) { r[2].push_back(r[2][3]); }), "commit: rank 2 wrote v: it was written before");
  EXPECT_EQ(changed([&](Results& r) { r[1][0].index.offset = Dims{0, 0}; }),
            "commit: rank 1 wrote m@[0,0]: the plan has no such box in segment-00001-000.safetensors");
  EXPECT_EQ(changed([&](Results& r) { r[1].push_back(r[0][0]); }),
            "commit: rank 1 wrote e@[0,0]: segment-00001-000.safetensors comes after segment-00001-001.safetensors");
  EXPECT_EQ(changed([&](Results& r) { report(r[2], sample(), {Rank{2}, 2}, {{"m", {{7, 0}, {1, 4}}}}); }),
            "commit: rank 2 wrote m@[7,0]: the plan has no such box in segment-00002-002.safetensors");
  EXPECT_EQ(changed([&](Results& r) { report(r[2], sample(), {Rank{2}, 2}, {{"e", whole({0, 4})}}); }),
            "commit: rank 2 wrote e@[0,0]: the plan has no such box in segment-00002-002.safetensors");
  EXPECT_EQ(changed([&](Results& r) { r[0][0].index.fqn = "x"; }), "commit: rank 0 wrote x@[0,0]: the plan does not hold it");
  EXPECT_EQ(changed([&](Results& r) { r[0][2].index.offset = Dims{1}; }), "commit: rank 0 wrote list@[1]: the plan does not hold it");
  EXPECT_EQ(changed([&](Results& r) { r[2][3].index.fqn = "m"; }), "commit: rank 2 wrote m: the plan holds no such value");
  EXPECT_EQ(changed([&](Results& r) { r[1][0].size_in_bytes = 47; }),
            "commit: rank 1 wrote m@[1,0]: 47 bytes, expected 48 for box [1,0]+[3,4]");
  EXPECT_EQ(changed([&](Results& r) { std::swap(r[0][0].storage_data, r[0][1].storage_data); }),
            "commit: rank 0 wrote e@[0,0]: it names no segment");
}

TEST(BuildManifest, RefusesSegmentsThatCannotBe) {
  const auto with = [](const format::SegmentRecord& segment) {
    Results results = sample_results();
    results[0][0].storage_data = *encode(TensorPlace{segment, {}}, part());
    return refusal(results);
  };
  EXPECT_EQ(with({{Rank{0}, 0}, 8192, 4097, {}}),
            "commit: rank 0 wrote e@[0,0]: segment-00000-000.safetensors has 4097 header bytes of 8192");
  EXPECT_EQ(with({{Rank{0}, 0}, 4095, 4096, {}}),
            "commit: rank 0 wrote e@[0,0]: segment-00000-000.safetensors has 4096 header bytes of 4095");
  Encoder out;
  out.u8(1);
  out.varint(65536);
  EXPECT_EQ(decode_tensor_place(out.bytes(), Rank{0}).error().message, "decode write result: file number 65536");
}

TEST(BuildManifest, RefusesWhatAManifestCannotHold) {
  Metadata metadata;
  const Dims many(65, 1);
  metadata.entries["w"] = TensorMetadata{DType::f32, many, ChunkSet({whole(many)}, many)};
  EXPECT_EQ(build(metadata, Results(ranks)).error(),
            (Error{ErrorCode::unsupported, "commit: tensor \"w\": 65 dimensions and a mesh of 0 axes, at most 64 can be"}));
  const auto ticket = AttemptTicket{"step-7.a1", 1, ""};
  EXPECT_EQ(build_manifest({{Step{7}, 1}, ticket, (1 << 24) + 1, 64}, {}, {}).error(),
            (Error{ErrorCode::unsupported, "commit: 16777217 ranks, expected 1 to 16777216"}));
}

}  // namespace
}  // namespace holdfast::protocol
