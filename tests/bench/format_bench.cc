// The manifest of the largest public training run: how large it is, and what it takes to write it and to find one tensor in it.
#include <map>

#include "impl/core/check.h"
#include "impl/format/manifest.h"
#include "impl/format/segment.h"
#include "tests/bench/bench.h"
#include "tests/bench/llama_405b.h"

namespace holdfast::bench {
namespace {

constexpr const char* dtypes = "bf16,f32";
constexpr std::uint16_t segments_a_rank = 3;  // a flat run of a matrix is three boxes at most

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return x ^ (x >> 27);
}

Result<format::Manifest> symbolic_manifest(std::int64_t dp) {
  format::Manifest manifest{Step{100000}, 7,  7, "step-99000.a6", static_cast<std::int32_t>(dp * llama_405b_ranks_a_dp), 1 << 20, {},
                            {},           {}, {}};
  for (std::int32_t rank = 0; rank < manifest.world_size; ++rank) {
    for (std::uint16_t number = 0; number < segments_a_rank; ++number) {
      const std::uint64_t noise = mix(static_cast<std::uint64_t>(rank) * segments_a_rank + number + 1);
      manifest.segments.push_back({{Rank{rank}, number}, (noise >> 30) + (64 << 10), 64 << 10, {noise, mix(noise)}});
    }
  }
  std::uint64_t number = 0;
  for (LayoutItem& item : TRY(llama_405b_written(dp))) {
    const std::uint64_t noise = mix(++number);
    TensorMetadata metadata{item.dtype, item.shape, ChunkSet(item.layout, item.shape)};
    manifest.tensors.emplace(std::move(item.fqn), format::TensorRecord{std::move(metadata), {}, {{noise, mix(noise)}}});
  }
  return manifest;
}

struct Listed {
  std::uint64_t chunks = 0;
  std::uint64_t distinct = 0;  ///< those of tensors with equal layouts counted once, as the manifest stores them
};

/// Replaces the rules by what they say, box by box.
Listed list_all(format::Manifest& manifest) {
  Listed listed;
  std::map<std::string, const format::TensorRecord*> known;  // by layout and shape
  for (auto& [name, record] : manifest.tensors) {
    const ChunkSet::OfMesh rule = *record.metadata.chunks.mesh();
    const auto [found, is_new] = known.try_emplace(fmt::format("{} of {}", to_string(rule.layout), to_string(whole(rule.shape))), &record);
    if (!is_new) {
      record.metadata.chunks = found->second->metadata.chunks;
      record.segments = found->second->segments;
      listed.chunks += record.segments.size();
      continue;
    }
    std::vector<std::pair<Box, std::uint32_t>> list;
    record.metadata.chunks.for_each([&](ChunkSet::Id id, const Box& box) { list.emplace_back(box, *manifest.segment_of(record, id)); });
    std::ranges::sort(list);
    std::vector<Box> boxes;
    for (auto& [box, segment] : list) {
      boxes.push_back(std::move(box));
      record.segments.push_back(segment);
    }
    record.metadata.chunks = ChunkSet(std::move(boxes), record.metadata.shape);
    listed.chunks += list.size();
    listed.distinct += list.size();
  }
  return listed;
}

/// Median seconds of `repeats` calls.
template <typename Call>
double time(int repeats, Call&& call) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const Stopwatch watch;
    call(i);
    seconds.push_back(watch.wall());
  }
  return median(std::move(seconds));
}

/// Finds a tensor by name, its record, one of its chunks by offset, and the segment of that.
void look_up(const format::ManifestReader& reader, const std::string& name, std::uint64_t noise) {
  const auto tensor = reader.find(name);
  CHECK(tensor.has_value(), "no tensor \"{}\"", name);
  const format::TensorRecord record = reader.tensor(*tensor);
  Dims element;
  for (const std::int64_t size : record.metadata.shape) {
    element.push_back(static_cast<std::int64_t>(noise % static_cast<std::uint64_t>(size)));
    noise = mix(noise);
  }
  const auto chunks = record.metadata.chunks.intersecting({element, Dims(element.size(), 1)});
  CHECK(chunks.size() == 1, "{} chunks hold an element of \"{}\"", chunks.size(), name);
  CHECK(reader.segment_of(record, chunks.front()).has_value(), "a chunk of \"{}\" without a segment", name);
}

Status measure_reading(const Request& request, const format::Manifest& manifest, const SharedBytes& bytes, const std::string& form,
                       const std::string& where) {
  const auto reader = TRY(format::ManifestReader::open(bytes, "MANIFEST"));
  if (reader.decode() != manifest) return fail(ErrorCode::corrupt, "the manifest of {} does not come back as it was", where);
  std::vector<const std::string*> names;
  for (const auto& [name, record] : manifest.tensors) names.push_back(&name);
  const double lookup = time(request.quick ? 10 : 2000, [&](int i) {
    const std::uint64_t noise = mix(static_cast<std::uint64_t>(i) + 1);
    look_up(reader, *names[noise % names.size()], noise);
  });
  const double open = time(request.quick ? 1 : 9, [&](int) { CHECK(format::ManifestReader::open(bytes, "MANIFEST").has_value(), "open"); });
  const double metadata = time(request.quick ? 1 : 9, [&](int) { CHECK(!reader.metadata().entries.empty(), "metadata"); });
  const auto aim = form.empty() ? std::optional<double>(50) : std::nullopt;
  request.report({"lookup " + form + where, lookup * 1e6, "us", aim, bytes.size(), dtypes});
  request.report({"lookup and open " + form + where, (open + lookup) * 1e6, "us", {}, bytes.size(), dtypes});
  request.report({"metadata " + form + where, metadata * 1e3, "ms", {}, bytes.size(), dtypes});
  return {};
}

Status bench_manifest(const Request& request) {
  const std::string where = "405b@16384";
  if (!request.wants(where)) return {};
  format::Manifest manifest = TRY(symbolic_manifest(request.quick ? 2 : 128));
  const std::uint64_t segments = manifest.segments.size();
  SharedBytes bytes = format::encode_manifest(manifest);
  request.report(
      {"manifest " + where, static_cast<double>(bytes.size() - 32 * segments), "bytes and 32 a segment", 262144.0, bytes.size(), dtypes});
  TRY(measure_reading(request, manifest, bytes, "", where));
  const Listed listed = list_all(manifest);
  bytes = format::encode_manifest(manifest);
  const auto beside_segments = static_cast<double>(bytes.size() - 32 * segments);
  request.report(
      {"manifest enumerated " + where, beside_segments / static_cast<double>(listed.chunks), "bytes/shard", 10.0, bytes.size(), dtypes});
  request.report(
      {"manifest unshared " + where, beside_segments / static_cast<double>(listed.distinct), "bytes/shard", 10.0, bytes.size(), dtypes});
  return measure_reading(request, manifest, bytes, "enumerated ", where);
}

Status bench_encode(const Request& request) {
  const std::string where = "405b@131072";
  if (!request.wants(where)) return {};
  const format::Manifest manifest = TRY(symbolic_manifest(request.quick ? 2 : 1024));
  std::uint64_t size = 0;
  const double seconds = time(request.quick ? 1 : 5, [&](int) { size = format::encode_manifest(manifest).size(); });
  request.report({"encode " + where, seconds, "s", 0.3, size, dtypes});
  return {};
}

/// A segment of 1,000 boxes of 640 KiB.
Status bench_segment_header(const Request& request) {
  const std::string where = "tensors=1000";
  if (!request.wants(where)) return {};
  std::vector<format::SegmentTensor> tensors;
  for (const LayoutItem& item : TRY(llama_405b_held(128))) {
    const auto row = static_cast<std::int64_t>(10 * tensors.size());
    if (tensors.size() < 1000) tensors.push_back({item.fqn, DType::f32, {53248, 16384}, {{row, 0}, {10, 16384}}, 0, 0});
  }
  const format::SegmentLayout layout = TRY(format::lay_out_segment(std::move(tensors), format::default_block_bytes));
  const std::vector<BlockDigest> digests(layout.block_count());
  const Bytes header = format::encode_segment_header(layout, digests, "step-100000.a7");
  const double seconds =
      time(request.quick ? 1 : 101, [&](int) { CHECK(format::decode_segment_header(header, "segment").has_value(), "decode"); });
  request.report({"segment header " + where, seconds * 1e3, "ms", 1.0, header.size(), "f32"});
  return {};
}

}  // namespace

Status bench_format(const Request& request) {
  TRY(bench_manifest(request));
  TRY(bench_encode(request));
  return bench_segment_header(request);
}

}  // namespace holdfast::bench
