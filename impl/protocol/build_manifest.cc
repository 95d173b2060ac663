#include "impl/protocol/build_manifest.h"

#include "impl/core/mutate.h"
#include "impl/format/segment.h"
#include "impl/protocol/files.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {
namespace {

constexpr std::uint32_t nowhere = ~std::uint32_t{0};

/// Takes in what the ranks wrote, in rank order; a rank's segments come in the order of their numbers.
class Builder {
 public:
  Builder(const Metadata& metadata, format::Manifest& manifest) : metadata_(metadata), manifest_(manifest) {
    for (const auto& [key, entry] : metadata.entries) {
      const auto* tensor = std::get_if<TensorMetadata>(&entry);
      if (!tensor) continue;
      format::TensorRecord& record = manifest.tensors.try_emplace(key, format::TensorRecord{*tensor, {}, {}}).first->second;
      if (!tensor->chunks.mesh()) record.segments.assign(tensor->chunks.size(), nowhere);
    }
  }

  /// What a manifest cannot hold. ManifestReader::open refuses more, and has the last word below.
  Status check_limits() const {
    if (manifest_.world_size < 1 || manifest_.world_size > format::world_size_max) {
      return fail(ErrorCode::unsupported, "commit: {} ranks, expected 1 to {}", manifest_.world_size, format::world_size_max);
    }
    for (const auto& [key, record] : manifest_.tensors) {
      const ChunkSet::OfMesh* mesh = record.metadata.chunks.mesh();
      const std::size_t axes = mesh ? mesh->layout.mesh.axes.size() : 0;
      if (record.metadata.shape.size() <= format::dims_max && axes <= format::dims_max) continue;
      return fail(ErrorCode::unsupported, "commit: tensor \"{}\": {} dimensions and a mesh of {} axes, at most {} can be", key,
                  record.metadata.shape.size(), axes, format::dims_max);
    }
    return {};
  }

  Status take(const WriteResult& result, Rank rank) {
    if (const Status taken = result.index.offset ? take_tensor(result, rank) : take_value(result, rank); !taken) {
      return fail(within(taken.error(), "commit: rank {} wrote {}", rank, to_string(result.index)));
    }
    return {};
  }

  Status check_complete() const {
    for (const auto& [key, record] : manifest_.tensors) TRY(check_tensor(key, record));
    for (const auto& [key, entry] : metadata_.entries) {
      if (std::holds_alternative<BytesMetadata>(entry) && !manifest_.bytes.contains(key)) {
        return fail(ErrorCode::corrupt, "commit: nobody wrote the value \"{}\"", key);
      }
    }
    return {};
  }

 private:
  /// What was written of a tensor of a mesh so far. Its chunks are not listed anywhere: that each that comes is one of them, that none
  /// comes twice and that they add up to the tensor means that all have come.
  struct Written {
    std::uint64_t chunks = 0;
    std::uint64_t elements = 0;
    format::SegmentId last = {};
  };

  Status take_tensor(const WriteResult& result, Rank rank) {
    const auto record = manifest_.tensors.find(result.index.fqn);
    if (record == manifest_.tensors.end()) return fail(ErrorCode::corrupt, "the plan does not hold it");
    const TensorPlace place = TRY(decode_tensor_place(result.storage_data, rank));
    if (place.segment) TRY(take_segment(*place.segment));
    if (manifest_.segments.empty() || manifest_.segments.back().id.rank != rank) return fail(ErrorCode::corrupt, "it names no segment");
    const TensorMetadata& metadata = record->second.metadata;
    const Box box = TRY(metadata.chunks.mesh() ? take_chunk_of_mesh(result, rank, *record) : take_listed_chunk(result, record->second));
    const std::uint64_t bytes = static_cast<std::uint64_t>(box.volume()) * size_bytes(metadata.dtype);
    if (result.size_in_bytes != bytes) {
      return fail(ErrorCode::corrupt, "{} bytes, expected {} for box {}", result.size_in_bytes, bytes, to_string(box));
    }
    record->second.digest += place.digest;
    return {};
  }

  Status take_segment(const format::SegmentRecord& segment) {
    const std::uint64_t pages = segment.header_bytes / format::segment_alignment;
    if (pages * format::segment_alignment != segment.header_bytes || pages < 1 || pages > format::header_pages_max ||
        segment.header_bytes > segment.file_bytes) {
      return fail(ErrorCode::corrupt, "{} has {} header bytes of {}", segment.path(), segment.header_bytes, segment.file_bytes);
    }
    if (!manifest_.segments.empty() && !(manifest_.segments.back().id < segment.id)) {
      return fail(ErrorCode::corrupt, "{} comes after {}", segment.path(), manifest_.segments.back().path());
    }
    manifest_.segments.push_back(segment);
    return {};
  }

  Result<Box> take_listed_chunk(const WriteResult& result, format::TensorRecord& record) {
    const auto chunk = record.metadata.chunks.find(*result.index.offset);
    if (!chunk) return fail(ErrorCode::corrupt, "the plan does not hold it");
    if (record.segments[*chunk] != nowhere) return fail(ErrorCode::corrupt, "it was written before");
    record.segments[*chunk] = static_cast<std::uint32_t>(manifest_.segments.size() - 1);
    return record.metadata.chunks.box(*chunk);
  }

  /// Boxes of a rank come in their order, each in the segment that it belongs into.
  Result<Box> take_chunk_of_mesh(const WriteResult& result, Rank rank, const std::pair<const std::string, format::TensorRecord>& tensor) {
    const ChunkSet::OfMesh& mesh = *tensor.second.metadata.chunks.mesh();
    const format::SegmentId segment = manifest_.segments.back().id;
    const auto position = mesh.layout.mesh.position(rank);
    const bool holds = position && (*position == 0 || !whole(mesh.shape).empty());
    std::vector<LocalBox> boxes = holds ? local_part(mesh.layout, mesh.shape, *position) : std::vector<LocalBox>();
    if (segment.number >= boxes.size() || boxes[segment.number].box.offset != *result.index.offset) {
      return fail(ErrorCode::corrupt, "the plan has no such box in {}", format::segment_name(segment));
    }
    Written& written = written_[tensor.first];
    if (written.chunks != 0 && !(written.last < segment)) return fail(ErrorCode::corrupt, "it was written before");
    Box box = std::move(boxes[segment.number].box);
    ++written.chunks;
    written.elements += static_cast<std::uint64_t>(box.volume());
    written.last = segment;
    return box;
  }

  Status take_value(const WriteResult& result, Rank rank) {
    const auto entry = metadata_.entries.find(result.index.fqn);
    if (entry == metadata_.entries.end() || !std::holds_alternative<BytesMetadata>(entry->second)) {
      return fail(ErrorCode::corrupt, "the plan holds no such value");
    }
    format::BytesRecord record = TRY(decode_bytes_record(result.storage_data, rank));
    if (!manifest_.bytes.try_emplace(result.index.fqn, record).second) return fail(ErrorCode::corrupt, "it was written before");
    return {};
  }

  Status check_tensor(const std::string& key, const format::TensorRecord& record) const {
    if (record.metadata.chunks.mesh()) {
      const auto found = written_.find(key);
      const Written written = found == written_.end() ? Written{} : found->second;
      const auto elements = static_cast<std::uint64_t>(whole(record.metadata.shape).volume());
      const bool complete = written.elements == elements && written.chunks != 0;
      if (MUTATE("build_manifest.mesh_incomplete", complete, true)) return {};
      return fail(ErrorCode::corrupt, "commit: the ranks wrote {} of {} elements of tensor \"{}\", in {} boxes", written.elements, elements,
                  key, written.chunks);
    }
    for (std::size_t chunk = 0; chunk < record.segments.size(); ++chunk) {
      if (record.segments[chunk] == nowhere) {
        return fail(ErrorCode::corrupt, "commit: nobody wrote box {} of tensor \"{}\"", to_string(record.metadata.chunks.box(chunk)), key);
      }
    }
    return {};
  }

  const Metadata& metadata_;
  format::Manifest& manifest_;
  std::map<std::string_view, Written> written_;  ///< by keys of manifest_.tensors
};

}  // namespace

Result<CommitRecord> build_manifest(const ManifestHead& head, const Metadata& metadata,
                                    const std::vector<std::vector<WriteResult>>& results) {
  format::Manifest manifest;
  manifest.step = head.attempt.step;
  manifest.attempt = head.attempt.attempt;
  manifest.sequence = head.ticket.sequence;
  manifest.parent = head.ticket.parent;
  manifest.world_size = head.world_size;
  manifest.block_bytes = head.block_bytes;
  manifest.planner_data = metadata.planner_data;
  Builder builder(metadata, manifest);
  TRY(builder.check_limits());
  for (std::size_t r = 0; r < results.size(); ++r) {
    for (const WriteResult& result : results[r]) TRY(builder.take(result, Rank{static_cast<std::int32_t>(r)}));
  }
  TRY(builder.check_complete());
  SharedBytes bytes = format::encode_manifest(manifest);
  // A commit record that nobody could read would hide the checkpoint that is there.
  format::ManifestReader reader = TRY(format::ManifestReader::open(bytes, join(plan::directory_name(head.attempt), manifest_name)));
  return CommitRecord({head.attempt, head.ticket.sequence}, std::move(bytes), std::move(reader));
}

}  // namespace holdfast::protocol
