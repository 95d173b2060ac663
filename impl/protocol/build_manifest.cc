#include "impl/protocol/build_manifest.h"

namespace holdfast::protocol {
namespace {

constexpr std::uint32_t nowhere = ~std::uint32_t{0};

/// Gives every tensor its record, with no chunk placed yet.
void start_records(const Metadata& metadata, format::Manifest& manifest) {
  for (const auto& [key, entry] : metadata.entries) {
    const auto* tensor = std::get_if<TensorMetadata>(&entry);
    if (!tensor) continue;
    manifest.tensors.try_emplace(key, format::TensorRecord{*tensor, {tensor->chunks.size(), format::ChunkLocation{nowhere, 0}}, {}});
  }
}

Status place_tensor(const WriteResult& result, Rank rank, format::Manifest& manifest) {
  const auto record = manifest.tensors.find(result.index.fqn);
  const auto chunk = record == manifest.tensors.end() ? std::nullopt : record->second.metadata.chunks.find(*result.index.offset);
  if (!chunk) return fail(ErrorCode::corrupt, "commit: rank {} wrote {}, which the plan does not hold", rank, to_string(result.index));
  const TensorPlace place = TRY(decode_tensor_place(result.storage_data));
  if (place.segment) manifest.segments.push_back(*place.segment);
  if (manifest.segments.empty()) return fail(ErrorCode::corrupt, "commit: rank {} names no segment for {}", rank, to_string(result.index));
  format::ChunkLocation& location = record->second.locations[*chunk];
  if (location.segment != nowhere) return fail(ErrorCode::corrupt, "commit: rank {} wrote {} a second time", rank, to_string(result.index));
  location = {static_cast<std::uint32_t>(manifest.segments.size() - 1), place.offset};
  record->second.digest += place.digest;
  return {};
}

Status place_value(const WriteResult& result, Rank rank, const Metadata& metadata, format::Manifest& manifest) {
  const auto entry = metadata.entries.find(result.index.fqn);
  if (entry == metadata.entries.end() || !std::holds_alternative<BytesMetadata>(entry->second)) {
    return fail(ErrorCode::corrupt, "commit: rank {} wrote the value \"{}\", which the plan does not hold", rank, result.index.fqn);
  }
  format::BytesRecord record = TRY(decode_bytes_record(result.storage_data));
  if (!manifest.bytes.try_emplace(result.index.fqn, std::move(record)).second) {
    return fail(ErrorCode::corrupt, "commit: rank {} wrote the value \"{}\" a second time", rank, result.index.fqn);
  }
  return {};
}

Status check_complete(const Metadata& metadata, const format::Manifest& manifest) {
  for (const auto& [key, record] : manifest.tensors) {
    for (std::size_t chunk = 0; chunk < record.locations.size(); ++chunk) {
      if (record.locations[chunk].segment == nowhere) {
        return fail(ErrorCode::corrupt, "commit: nobody wrote box {} of tensor \"{}\"", to_string(record.metadata.chunks.box(chunk)), key);
      }
    }
  }
  for (const auto& [key, entry] : metadata.entries) {
    if (std::holds_alternative<BytesMetadata>(entry) && !manifest.bytes.contains(key)) {
      return fail(ErrorCode::corrupt, "commit: nobody wrote the value \"{}\"", key);
    }
  }
  return {};
}

}  // namespace

Result<format::Manifest> build_manifest(const ManifestHead& head, const Metadata& metadata,
                                        const std::vector<std::vector<WriteResult>>& results) {
  format::Manifest manifest;
  manifest.step = head.attempt.step;
  manifest.attempt = head.attempt.attempt;
  manifest.sequence = head.ticket.sequence;
  manifest.parent = head.ticket.parent;
  manifest.world_size = head.world_size;
  manifest.block_bytes = head.block_bytes;
  manifest.planner_data = metadata.planner_data;
  start_records(metadata, manifest);
  for (std::size_t r = 0; r < results.size(); ++r) {
    const Rank rank{static_cast<std::int32_t>(r)};
    for (const WriteResult& result : results[r]) {
      TRY(result.index.offset ? place_tensor(result, rank, manifest) : place_value(result, rank, metadata, manifest));
    }
  }
  TRY(check_complete(metadata, manifest));
  return manifest;
}

}  // namespace holdfast::protocol
