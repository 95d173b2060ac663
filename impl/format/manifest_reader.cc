// Reads a manifest in place. All of it rests on what manifest_check.cc made sure of.
#include "impl/core/check.h"
#include "impl/format/manifest.h"
#include "impl/format/manifest_layout.h"
#include "impl/format/segment.h"
#include "impl/format/stored_names.h"
#include "impl/format/tensor_layout.h"

namespace holdfast::format {
namespace {

namespace at = manifest_layout;

/// The segment that holds a chunk of a tensor of `in`, a Manifest or its reader.
template <typename In>
Result<std::uint32_t> find_segment_of(const In& in, const TensorRecord& tensor, ChunkSet::Id chunk) {
  if (!tensor.metadata.chunks.mesh()) {
    CHECK(chunk < tensor.segments.size(), "chunk {} of {}", chunk, tensor.segments.size());
    return tensor.segments[chunk];
  }
  const ChunkSet::Holder holder = tensor.metadata.chunks.holder(chunk);
  const SegmentId id = segment_of_box(holder.rank, holder.number);
  if (const auto found = in.find_segment(id)) return *found;
  return fail(ErrorCode::corrupt, "the manifest lacks {}, in which box {} of {} lies", segment_name(id),
              to_string(tensor.metadata.chunks.box(chunk)), to_string(tensor.metadata.chunks.mesh()->layout));
}

}  // namespace

Result<std::uint32_t> Manifest::segment_of(const TensorRecord& tensor, ChunkSet::Id chunk) const {
  return find_segment_of(*this, tensor, chunk);
}
Result<std::uint32_t> ManifestReader::segment_of(const TensorRecord& tensor, ChunkSet::Id chunk) const {
  return find_segment_of(*this, tensor, chunk);
}

std::uint32_t ManifestReader::u32(std::uint64_t offset) const { return at::load<std::uint32_t>(bytes_.view(), offset); }
std::uint64_t ManifestReader::u64(std::uint64_t offset) const { return at::load<std::uint64_t>(bytes_.view(), offset); }
BlockDigest ManifestReader::block_digest_at(std::uint64_t offset) const { return {u64(offset), u64(offset + 8)}; }

StoredNames ManifestReader::tensor_names() const {
  return {part(at_.tensor_blocks, at_.value_blocks), part(at_.tensor_names, at_.value_names), tensor_count()};
}
StoredNames ManifestReader::value_names() const {
  return {part(at_.value_blocks, at_.layout_starts), part(at_.value_names, at_.parent), bytes_count()};
}
StoredLayouts ManifestReader::layouts() const {
  return {part(at_.layout_starts, at_.layouts),
          part(at_.layouts, at_.tensor_names),
          u32(at::shapes_count_at),
          u32(at::meshes_count_at),
          u32(at::cuts_count_at),
          u32(at::layouts_count_at),
          segment_count(),
          world_size()};
}

Step ManifestReader::step() const { return {static_cast<std::int64_t>(u64(at::step_at))}; }
std::uint32_t ManifestReader::attempt() const { return u32(at::attempt_at); }
std::uint64_t ManifestReader::sequence() const { return u64(at::sequence_at); }
std::string_view ManifestReader::parent() const { return as_text(part(at_.parent, at_.planner_data)); }
std::int32_t ManifestReader::world_size() const { return static_cast<std::int32_t>(u32(at::world_size_at)); }
std::uint32_t ManifestReader::block_bytes() const { return u32(at::block_bytes_at); }
ByteView ManifestReader::planner_data() const { return part(at_.planner_data, at_.digest); }

std::size_t ManifestReader::segment_count() const { return u32(at::segments_count_at); }

SegmentId ManifestReader::segment_id(std::size_t index) const {
  const std::uint64_t record = at::fixed_bytes + index * at::segment::bytes;
  return {Rank{static_cast<std::int32_t>(u32(record + at::segment::rank_at))},
          at::load<std::uint16_t>(bytes_.view(), record + at::segment::number_at)};
}

SegmentRecord ManifestReader::segment(std::size_t index) const {
  CHECK(index < segment_count(), "segment {} of {}", index, segment_count());
  const std::uint64_t record = at::fixed_bytes + index * at::segment::bytes;
  const auto pages = at::load<std::uint16_t>(bytes_.view(), record + at::segment::header_pages_at);
  return {segment_id(index), u64(record + at::segment::file_bytes_at), pages * segment_alignment,
          block_digest_at(record + at::segment::digest_at)};
}

std::optional<std::uint32_t> ManifestReader::find_segment(SegmentId id) const {
  std::size_t begin = 0;
  std::size_t end = segment_count();
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    const auto order = segment_id(middle) <=> id;
    if (order == 0) return static_cast<std::uint32_t>(middle);
    if (order < 0) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return std::nullopt;
}

std::size_t ManifestReader::tensor_count() const { return u32(at::tensors_count_at); }
std::optional<std::size_t> ManifestReader::find(std::string_view name) const { return tensor_names().find(name); }
std::string ManifestReader::tensor_name(std::size_t tensor) const { return tensor_names().at(tensor); }

TensorRecord ManifestReader::tensor(std::size_t tensor) const {
  CHECK(tensor < tensor_count(), "tensor {} of {}", tensor, tensor_count());
  const std::uint32_t packed = u32(at_.tensors + tensor * at::tensor::bytes + at::tensor::layout_at);
  PlacedChunks placed = layouts().layout(packed % at::tensor::layouts_max);
  const DType dtype = *dtype_from_code(static_cast<std::uint8_t>(packed / at::tensor::layouts_max));
  return {{dtype, std::move(placed.shape), std::move(placed.chunks)}, std::move(placed.segments), digest(tensor)};
}

TensorDigest ManifestReader::digest(std::size_t tensor) const {
  CHECK(tensor < tensor_count(), "tensor {} of {}", tensor, tensor_count());
  const std::uint64_t place = at_.tensors + tensor * at::tensor::bytes + at::tensor::digest_at;
  return {{u64(place), u64(place + 8)}};
}

std::size_t ManifestReader::bytes_count() const { return u32(at::values_count_at); }
std::string ManifestReader::bytes_name(std::size_t index) const { return value_names().at(index); }

BytesRecord ManifestReader::bytes_record(std::size_t index) const {
  const std::uint64_t record = at_.values + index * at::value::bytes;
  return {Rank{static_cast<std::int32_t>(u32(record + at::value::rank_at))}, u32(record + at::value::number_at),
          u64(record + at::value::bytes_at), block_digest_at(record + at::value::digest_at)};
}

Result<BytesRecord> ManifestReader::bytes(std::string_view name) const {
  const auto index = value_names().find(name);
  if (!index) return fail(ErrorCode::not_found, "manifest \"{}\": no byte value \"{}\"", path_, name);
  return bytes_record(*index);
}

namespace {

/// Calls visit(index, name) for each name in order.
template <typename Visit>
void for_each_name(const StoredNames& names, Visit&& visit) {
  NamesCursor cursor(names);
  for (std::size_t i = 0; i < names.count; ++i) {
    CHECK(cursor.next().has_value(), "names that were checked");
    visit(i, cursor.name());
  }
}

}  // namespace

Metadata ManifestReader::metadata() const {
  Metadata metadata;
  for_each_name(tensor_names(), [&](std::size_t i, const std::string& name) {
    metadata.entries.emplace_hint(metadata.entries.end(), name, tensor(i).metadata);
  });
  for_each_name(value_names(), [&](std::size_t, const std::string& name) { metadata.entries.emplace(name, BytesMetadata{}); });
  metadata.planner_data = to_bytes(planner_data());
  return metadata;
}

Manifest ManifestReader::decode() const {
  Manifest manifest{step(), attempt(), sequence(), std::string(parent()),   world_size(), block_bytes(),
                    {},     {},        {},         to_bytes(planner_data())};
  manifest.segments.reserve(segment_count());
  for (std::size_t i = 0; i < segment_count(); ++i) manifest.segments.push_back(segment(i));
  for_each_name(tensor_names(),
                [&](std::size_t i, const std::string& name) { manifest.tensors.emplace_hint(manifest.tensors.end(), name, tensor(i)); });
  for_each_name(value_names(),
                [&](std::size_t i, const std::string& name) { manifest.bytes.emplace_hint(manifest.bytes.end(), name, bytes_record(i)); });
  return manifest;
}

}  // namespace holdfast::format
