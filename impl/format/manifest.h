// The manifest: the commit record of a checkpoint. It says what is stored, where, and the digests of all of it. Pure.
// Byte layout: FORMAT.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/digest.h"
#include "impl/core/error.h"
#include "impl/core/ids.h"
#include "impl/core/plan_values.h"

namespace holdfast::format {

inline constexpr std::uint32_t manifest_version = 1;

struct SegmentRecord {
  std::string path;  ///< relative to the attempt's directory
  std::uint64_t file_bytes = 0;
  std::uint64_t header_bytes = 0;
  BlockDigest header_digest;  ///< of the first header_bytes; the header holds the digests of the rest
  bool operator==(const SegmentRecord&) const = default;
};

struct ChunkLocation {
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;  ///< bytes, in the segment's data area
  bool operator==(const ChunkLocation&) const = default;
};

struct TensorRecord {
  TensorMetadata metadata;
  std::vector<ChunkLocation> locations;  ///< one a chunk, in ChunkSet order
  TensorDigest digest;                   ///< of the whole tensor
  bool operator==(const TensorRecord&) const = default;
};

struct BytesRecord {
  std::string path;  ///< relative to the attempt's directory
  std::uint64_t bytes = 0;
  BlockDigest digest;
  bool operator==(const BytesRecord&) const = default;
};

struct Manifest {
  Step step;
  std::uint32_t attempt = 0;
  std::uint64_t sequence = 0;
  std::string parent;  ///< directory of the attempt this save started from, or empty
  std::int32_t world_size = 1;
  std::uint32_t block_bytes = 0;
  std::vector<SegmentRecord> segments;
  std::map<std::string, TensorRecord, std::less<>> tensors;
  std::map<std::string, BytesRecord, std::less<>> bytes;
  Bytes planner_data;
  bool operator==(const Manifest&) const = default;
};

/// "segment-RRRRR-NNN.safetensors": the paths that a manifest stores in no space.
std::string segment_name(Rank rank, std::uint32_t number);

/// Requires: what ManifestReader::open checks (a location a chunk, paths that stay inside, no name twice, ...).
Bytes encode_manifest(const Manifest& manifest);

/// A checked manifest, read in place over shared bytes: opening checks the digest and every table once and copies nothing, so that a
/// thousand ranks can each open it. After open() no accessor can fail on the bytes; indices are the caller's.
class ManifestReader {
 public:
  /// Errors: unsupported for another format version; corrupt for any other bytes that encode_manifest does not write.
  static Result<ManifestReader> open(SharedBytes bytes, std::string_view path);

  Step step() const;
  std::uint32_t attempt() const;
  std::uint64_t sequence() const;
  std::string_view parent() const;
  std::int32_t world_size() const;
  std::uint32_t block_bytes() const;
  ByteView planner_data() const;

  std::size_t segment_count() const;
  /// Errors: invalid_argument for an index out of range.
  Result<SegmentRecord> segment(std::size_t index) const;

  std::size_t tensor_count() const;
  /// Index of a tensor, by binary search in place.
  std::optional<std::size_t> find(std::string_view name) const;
  std::string_view tensor_name(std::size_t tensor) const;
  TensorMetadata tensor_metadata(std::size_t tensor) const;
  TensorDigest digest(std::size_t tensor) const;
  std::size_t chunk_count(std::size_t tensor) const;
  ChunkLocation location(std::size_t tensor, std::size_t chunk) const;

  std::size_t bytes_count() const;
  std::string_view bytes_name(std::size_t index) const;
  /// Errors: not_found.
  Result<BytesRecord> bytes(std::string_view name) const;

  Metadata metadata() const;
  /// Everything, with what open() leaves out: that every chunk lies within the data of its segment. Errors: corrupt.
  Result<Manifest> decode() const;

 private:
  friend class ManifestChecker;
  ManifestReader(SharedBytes bytes, std::string_view path) : bytes_(std::move(bytes)), path_(path) {}

  std::uint32_t u32(std::uint64_t offset) const;
  std::uint64_t u64(std::uint64_t offset) const;
  BlockDigest block_digest_at(std::uint64_t offset) const;
  std::string_view text(std::uint64_t reference) const;
  std::uint64_t first_chunk(std::size_t tensor) const;
  BytesRecord bytes_record(std::size_t index) const;

  SharedBytes bytes_;
  std::string path_;
  // Where each part starts, from the start of the file (FORMAT.md, "Manifest").
  std::uint64_t tensors_at_ = 0, values_at_ = 0, locations_at_ = 0, layouts_at_ = 0, text_at_ = 0, planner_at_ = 0, end_ = 0;
};

}  // namespace holdfast::format
