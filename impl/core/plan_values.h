// The values planners and storage exchange, with PyTorch DCP's names (planner.py, metadata.py).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/bytes.h"
#include "impl/core/digest.h"
#include "impl/core/dtype.h"

namespace holdfast {

/// Names one stored thing: a byte value (no offset) or the chunk of a tensor that starts at `offset`.
struct MetadataIndex {
  std::string fqn;
  std::optional<Dims> offset;
  std::optional<std::uint32_t> hint;  ///< position in the chunk list; only a hint: no part of equality or order

  bool operator==(const MetadataIndex& other) const { return fqn == other.fqn && offset == other.offset; }
  bool operator<(const MetadataIndex& other) const { return fqn != other.fqn ? fqn < other.fqn : offset < other.offset; }
};
std::string to_string(const MetadataIndex& index);  ///< "wte@[0,0]" or "trainer"

enum class WriteItemType : std::uint8_t { tensor = 1, shard = 2, bytes = 3 };

struct WriteItem {
  MetadataIndex index;
  WriteItemType type = WriteItemType::bytes;
  // Tensor and shard items:
  Box chunk;
  DType dtype = DType::u8;
  Dims shape;  ///< of the whole tensor
  // Byte items:
  std::uint64_t nbytes = 0;

  /// Bytes this item stores: of the chunk, not of the whole tensor.
  std::uint64_t stored_bytes() const {
    return type == WriteItemType::bytes ? nbytes : static_cast<std::uint64_t>(chunk.volume()) * size_bytes(dtype);
  }
  bool operator==(const WriteItem&) const = default;
};

enum class ReadItemType : std::uint8_t { tensor = 1, bytes = 2 };

/// Copy [storage_offset, + lengths) of the saved chunk `storage_index` to [dest_offset, + lengths) of the local shard `dest_index`.
/// Both offsets are relative to their chunk. Byte items have no offsets and no lengths.
struct ReadItem {
  ReadItemType type = ReadItemType::bytes;
  MetadataIndex dest_index;
  Dims dest_offset;
  MetadataIndex storage_index;
  Dims storage_offset;
  Dims lengths;
  bool operator==(const ReadItem&) const = default;
};

struct SavePlan {
  std::vector<WriteItem> items;
  Bytes storage_data;  ///< the storage writer's own, from prepare_global_plan to write_data
  Bytes planner_data;  ///< the planner's own
  bool operator==(const SavePlan&) const = default;
};

struct LoadPlan {
  std::vector<ReadItem> items;
  Bytes storage_data;
  Bytes planner_data;
  bool operator==(const LoadPlan&) const = default;
};

/// Where chunk number i of a tensor lies: a list of boxes, or a rule for them when one dimension is cut evenly from 0 (ChunkLayout).
/// Chunks are kept sorted by offset.
class ChunkSet {
 public:
  struct Grid {
    Dims shape;
    std::uint32_t dim = 0;
    std::uint32_t count = 0;  ///< chunks; all of them non-empty, together the whole tensor
    bool operator==(const Grid&) const = default;
  };

  ChunkSet() = default;
  /// Sorts, and recognises a grid.
  ChunkSet(std::vector<Box> boxes, const Dims& shape);
  explicit ChunkSet(Grid grid) : chunks_(std::move(grid)) {}

  std::size_t size() const;
  Box box(std::size_t index) const;
  /// The chunk that starts at `offset`.
  std::optional<std::size_t> find(const Dims& offset) const;
  /// Indices of the chunks that share an element with `box`, ascending.
  std::vector<std::size_t> intersecting(const Box& box) const;
  const Grid* grid() const { return std::get_if<Grid>(&chunks_); }
  bool operator==(const ChunkSet&) const = default;

 private:
  std::variant<std::vector<Box>, Grid> chunks_;
};

struct TensorMetadata {
  DType dtype = DType::u8;
  Dims shape;
  ChunkSet chunks;
  bool operator==(const TensorMetadata&) const = default;
};

struct BytesMetadata {
  bool operator==(const BytesMetadata&) const = default;
};

/// What a checkpoint holds, by key. Where the bytes lie is the storage's business (StorageWriter::finish, StorageReader).
struct Metadata {
  std::map<std::string, std::variant<TensorMetadata, BytesMetadata>, std::less<>> entries;
  Bytes planner_data;
  bool operator==(const Metadata&) const = default;
};

/// What a storage writer says of one written item.
struct WriteResult {
  MetadataIndex index;
  std::uint64_t size_in_bytes = 0;
  Bytes storage_data;  ///< the storage writer's own, handed to finish() on the coordinator
  bool operator==(const WriteResult&) const = default;
};

}  // namespace holdfast
