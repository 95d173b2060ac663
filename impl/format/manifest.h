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
#include "impl/format/file_names.h"

namespace holdfast::format {

struct StoredLayouts;
struct StoredNames;

inline constexpr std::uint32_t manifest_version = 2;
// Bounds of what a reader of a manifest may have to loop over, together with segments_a_rank_max.
inline constexpr std::int32_t world_size_max = 1 << 24;  ///< ranks
inline constexpr std::size_t dims_max = 64;              ///< of a tensor; axes of a mesh

struct SegmentRecord {
  SegmentId id;
  std::uint64_t file_bytes = 0;
  std::uint64_t header_bytes = 0;  ///< a multiple of segment_alignment, below 2^16 of them
  BlockDigest header_digest;       ///< of the first header_bytes; the header holds the digests of the rest
  std::string path() const { return segment_name(id); }
  bool operator==(const SegmentRecord&) const = default;
};

struct TensorRecord {
  TensorMetadata metadata;
  /// Number (in Manifest::segments) of the segment that holds each chunk, by id, no two the same. None of a mesh: see segment_of().
  std::vector<std::uint32_t> segments;
  TensorDigest digest;  ///< of the whole tensor
  bool operator==(const TensorRecord&) const = default;
};

struct BytesRecord {
  Rank rank;
  std::uint32_t number = 0;  ///< among the files of byte values that the rank wrote
  std::uint64_t bytes = 0;
  BlockDigest digest;
  std::string path() const { return value_name(rank, number); }
  bool operator==(const BytesRecord&) const = default;
};

struct Manifest {
  Step step;
  std::uint32_t attempt = 0;
  std::uint64_t sequence = 0;
  std::string parent;  ///< directory of the attempt this save started from, or empty
  std::int32_t world_size = 1;
  std::uint32_t block_bytes = 0;
  std::vector<SegmentRecord> segments;  ///< ascending by id
  std::map<std::string, TensorRecord, std::less<>> tensors;
  std::map<std::string, BytesRecord, std::less<>> bytes;
  Bytes planner_data;

  std::optional<std::uint32_t> find_segment(SegmentId id) const;
  /// The number of the segment that holds a chunk of a tensor of this manifest.
  /// Errors: corrupt, when a mesh has the chunk in a segment that the manifest lacks.
  Result<std::uint32_t> segment_of(const TensorRecord& tensor, ChunkSet::Id chunk) const;
  bool operator==(const Manifest&) const = default;
};

/// Requires: what ManifestReader::open checks (segments ascending, distinct ones for the chunks of a tensor, no name twice, ...).
Bytes encode_manifest(const Manifest& manifest);

/// A checked manifest, read in place over shared bytes: opening checks the digest and every table once and copies nothing, so that a
/// thousand ranks can each open it. After open() no accessor can fail on the bytes, but for segment_of(); indices are the caller's.
class ManifestReader {
 public:
  /// Work: one pass over the bytes. Errors: unsupported for another format version; corrupt for bytes that are no manifest.
  static Result<ManifestReader> open(SharedBytes bytes, std::string_view path);

  Step step() const;
  std::uint32_t attempt() const;
  std::uint64_t sequence() const;
  std::string_view parent() const;
  std::int32_t world_size() const;
  std::uint32_t block_bytes() const;
  ByteView planner_data() const;

  std::size_t segment_count() const;
  SegmentRecord segment(std::size_t index) const;
  std::optional<std::uint32_t> find_segment(SegmentId id) const;

  std::size_t tensor_count() const;
  /// Index of a tensor, by halving in place.
  std::optional<std::size_t> find(std::string_view name) const;
  std::string tensor_name(std::size_t tensor) const;
  TensorRecord tensor(std::size_t tensor) const;
  TensorDigest digest(std::size_t tensor) const;
  /// As Manifest::segment_of, for a record that tensor() gave. open() does not visit every box of a mesh, hence it can fail.
  Result<std::uint32_t> segment_of(const TensorRecord& tensor, ChunkSet::Id chunk) const;

  std::size_t bytes_count() const;
  std::string bytes_name(std::size_t index) const;
  /// Errors: not_found.
  Result<BytesRecord> bytes(std::string_view name) const;

  Metadata metadata() const;
  /// Everything.
  Manifest decode() const;

 private:
  friend class ManifestChecker;
  ManifestReader(SharedBytes bytes, std::string_view path) : bytes_(std::move(bytes)), path_(path) {}

  ByteView part(std::uint64_t begin, std::uint64_t end) const { return bytes_.view().subspan(begin, end - begin); }
  StoredNames tensor_names() const;
  StoredNames value_names() const;
  StoredLayouts layouts() const;
  std::uint32_t u32(std::uint64_t offset) const;
  std::uint64_t u64(std::uint64_t offset) const;
  BlockDigest block_digest_at(std::uint64_t offset) const;
  SegmentId segment_id(std::size_t index) const;
  BytesRecord bytes_record(std::size_t index) const;

  SharedBytes bytes_;
  std::string path_;
  // Where each part starts, from the start of the file (FORMAT.md, "Manifest").
  struct Parts {
    std::uint64_t tensors = 0, values = 0, tensor_blocks = 0, value_blocks = 0, layout_starts = 0, layouts = 0, tensor_names = 0,
                  value_names = 0, parent = 0, planner_data = 0, digest = 0;
  };
  Parts at_;
};

}  // namespace holdfast::format
