// Reads a manifest in place. All of it rests on what manifest_check.cc made sure of.
#include <set>

#include "impl/core/check.h"
#include "impl/core/encoding.h"
#include "impl/format/manifest.h"
#include "impl/format/manifest_layout.h"
#include "impl/format/tensor_layout.h"

namespace holdfast::format {
namespace {

namespace at = manifest_layout;

/// Position of `name` among `count` ascending names.
template <typename NameOf>
std::optional<std::size_t> find_sorted(std::size_t count, std::string_view name, NameOf&& name_of) {
  std::size_t begin = 0, end = count;
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    const auto order = name_of(middle) <=> name;
    if (order == 0) return middle;
    if (order < 0) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return std::nullopt;
}

}  // namespace

std::uint32_t ManifestReader::u32(std::uint64_t offset) const { return at::load<std::uint32_t>(bytes_.view(), offset); }
std::uint64_t ManifestReader::u64(std::uint64_t offset) const { return at::load<std::uint64_t>(bytes_.view(), offset); }
BlockDigest ManifestReader::block_digest_at(std::uint64_t offset) const { return {u64(offset), u64(offset + 8)}; }
std::string_view ManifestReader::text(std::uint64_t reference) const {
  return as_text(bytes_.view().subspan(text_at_ + u32(reference), u32(reference + 4)));
}

Step ManifestReader::step() const { return {static_cast<std::int64_t>(u64(at::step_at))}; }
std::uint32_t ManifestReader::attempt() const { return u32(at::attempt_at); }
std::uint64_t ManifestReader::sequence() const { return u64(at::sequence_at); }
std::string_view ManifestReader::parent() const { return as_text(bytes_.view().subspan(text_at_, u32(at::parent_bytes_at))); }
std::int32_t ManifestReader::world_size() const { return static_cast<std::int32_t>(u32(at::world_size_at)); }
std::uint32_t ManifestReader::block_bytes() const { return u32(at::block_bytes_at); }
ByteView ManifestReader::planner_data() const { return bytes_.view().subspan(planner_at_, end_ - planner_at_); }

std::size_t ManifestReader::segment_count() const { return u32(at::segments_count_at); }

Result<SegmentRecord> ManifestReader::segment(std::size_t index) const {
  if (index >= segment_count())
    return fail(ErrorCode::invalid_argument, "manifest \"{}\": segment {} of {}", path_, index, segment_count());
  const std::uint64_t record = at::fixed_bytes + index * at::record_bytes;
  SegmentRecord segment{{},
                        u64(record + at::segment::file_bytes_at),
                        u32(record + at::segment::header_bytes_at),
                        block_digest_at(record + at::segment::digest_at)};
  if (u32(record + at::segment::path_bytes_at) == 0) {
    segment.path = segment_name(Rank{static_cast<std::int32_t>(u32(record + at::segment::rank_at))}, u32(record + at::segment::number_at));
  } else {
    segment.path = text(record + at::segment::number_at);
  }
  return segment;
}

std::size_t ManifestReader::tensor_count() const { return u32(at::tensors_count_at); }

std::uint64_t ManifestReader::first_chunk(std::size_t tensor) const {
  return tensor == tensor_count() ? u64(at::chunks_count_at) : u64(tensors_at_ + tensor * at::record_bytes + at::tensor::first_chunk_at);
}

std::optional<std::size_t> ManifestReader::find(std::string_view name) const {
  return find_sorted(tensor_count(), name, [this](std::size_t i) { return tensor_name(i); });
}

std::string_view ManifestReader::tensor_name(std::size_t tensor) const {
  CHECK(tensor < tensor_count(), "tensor {} of {}", tensor, tensor_count());
  return text(tensors_at_ + tensor * at::record_bytes + at::tensor::name_at);
}

TensorMetadata ManifestReader::tensor_metadata(std::size_t tensor) const {
  CHECK(tensor < tensor_count(), "tensor {} of {}", tensor, tensor_count());
  const std::uint64_t layout = layouts_at_ + u64(tensors_at_ + tensor * at::record_bytes + at::tensor::layout_at);
  Decoder in(bytes_.view().subspan(layout, text_at_ - layout), "layout");
  auto metadata = take_layout(in, chunk_count(tensor));
  CHECK(metadata.has_value(), "a layout that open() passed");
  return *std::move(metadata);
}

TensorDigest ManifestReader::digest(std::size_t tensor) const {
  CHECK(tensor < tensor_count(), "tensor {} of {}", tensor, tensor_count());
  const std::uint64_t place = tensors_at_ + tensor * at::record_bytes + at::tensor::digest_at;
  return {{u64(place), u64(place + 8)}};
}

std::size_t ManifestReader::chunk_count(std::size_t tensor) const {
  CHECK(tensor < tensor_count(), "tensor {} of {}", tensor, tensor_count());
  return static_cast<std::size_t>(first_chunk(tensor + 1) - first_chunk(tensor));
}

ChunkLocation ManifestReader::location(std::size_t tensor, std::size_t chunk) const {
  CHECK(chunk < chunk_count(tensor), "chunk {} of {}", chunk, chunk_count(tensor));
  const std::uint64_t place = locations_at_ + (first_chunk(tensor) + chunk) * at::location_bytes;
  return {u32(place), u64(place + 4)};
}

std::size_t ManifestReader::bytes_count() const { return u32(at::values_count_at); }

std::string_view ManifestReader::bytes_name(std::size_t index) const {
  CHECK(index < bytes_count(), "byte value {} of {}", index, bytes_count());
  return text(values_at_ + index * at::record_bytes + at::value::name_at);
}

BytesRecord ManifestReader::bytes_record(std::size_t index) const {
  const std::uint64_t record = values_at_ + index * at::record_bytes;
  return {std::string(text(record + at::value::path_at)), u64(record + at::value::bytes_at),
          block_digest_at(record + at::value::digest_at)};
}

Result<BytesRecord> ManifestReader::bytes(std::string_view name) const {
  const auto index = find_sorted(bytes_count(), name, [this](std::size_t i) { return bytes_name(i); });
  if (!index) return fail(ErrorCode::not_found, "manifest \"{}\": no byte value \"{}\"", path_, name);
  return bytes_record(*index);
}

Metadata ManifestReader::metadata() const {
  Metadata metadata;
  for (std::size_t i = 0; i < tensor_count(); ++i) metadata.entries.emplace(tensor_name(i), tensor_metadata(i));
  for (std::size_t i = 0; i < bytes_count(); ++i) metadata.entries.emplace(bytes_name(i), BytesMetadata{});
  metadata.planner_data = to_bytes(planner_data());
  return metadata;
}

Result<Manifest> ManifestReader::decode() const {
  Manifest manifest{step(), attempt(), sequence(), std::string(parent()),   world_size(), block_bytes(),
                    {},     {},        {},         to_bytes(planner_data())};
  std::set<std::string, std::less<>> paths;
  for (std::size_t i = 0; i < segment_count(); ++i) {
    manifest.segments.push_back(TRY(segment(i)));
    const std::string& name = manifest.segments.back().path;
    if (!paths.insert(name).second) return fail(ErrorCode::corrupt, "manifest \"{}\": segment \"{}\" twice", path_, name);
  }
  for (std::size_t t = 0; t < tensor_count(); ++t) {
    TensorRecord record{tensor_metadata(t), {}, digest(t)};
    for (std::size_t c = 0; c < chunk_count(t); ++c) {
      const ChunkLocation place = location(t, c);
      const SegmentRecord& segment = manifest.segments[place.segment];
      const std::uint64_t data = segment.file_bytes - segment.header_bytes;
      const auto elements = static_cast<std::uint64_t>(record.metadata.chunks.box(c).volume());
      if (elements > (data - place.offset) / size_bytes(record.metadata.dtype)) {
        return fail(ErrorCode::corrupt,
                    "manifest \"{}\": tensor \"{}\" chunk {}: {} elements of {} at {} do not fit into the {} bytes of \"{}\"", path_,
                    tensor_name(t), c, elements, to_string(record.metadata.dtype), place.offset, data, segment.path);
      }
      record.locations.push_back(place);
    }
    manifest.tensors.emplace(tensor_name(t), std::move(record));
  }
  for (std::size_t i = 0; i < bytes_count(); ++i) manifest.bytes.emplace(bytes_name(i), bytes_record(i));
  return manifest;
}

}  // namespace holdfast::format
