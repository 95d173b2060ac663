// The values planners and storage exchange, with PyTorch DCP's names (planner.py, metadata.py).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/bytes.h"
#include "impl/core/chunk_set.h"
#include "impl/core/digest.h"
#include "impl/core/dtype.h"
#include "impl/core/ids.h"

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
  BlockDigest digest = {};  ///< of the value; a planner of one's own may leave it 0 on every rank

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

/// A tensor whose items follow from a rule. In a local plan: what the ranks of the mesh hold, and this rank among them. In a global plan: what each
/// of them writes, no two the same.
struct LayoutItem {
  std::string fqn;
  DType dtype = DType::u8;
  Dims shape;
  MeshLayout layout;
  bool operator==(const LayoutItem&) const = default;
};
/// In name order. Ranks that send equal tables share one, so that a coordinator keeps few whatever the number of ranks.
using LayoutTable = std::shared_ptr<const std::vector<LayoutItem>>;

/// What one rank writes.
struct SavePlan {
  std::vector<WriteItem> items;  ///< of tensors that are not in `layouts`, and byte values
  LayoutTable layouts;           ///< may be null: none
  Bytes storage_data;            ///< the storage writer's own, from prepare_global_plan to write_data
  Bytes planner_data;            ///< the planner's own
  bool operator==(const SavePlan& other) const;
};

/// What one rank reads: every element of its destination once.
struct LoadPlan {
  std::vector<ReadItem> items;
  Bytes storage_data;
  Bytes planner_data;
  bool operator==(const LoadPlan&) const = default;
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

/// The items of `rank` by the rules of plan.layouts, merged with plan.items in name order; the result has no layouts. hint is the number of the box on
/// its rank.
SavePlan expand(SavePlan plan, Rank rank);

/// What a storage writer says of one written item.
struct WriteResult {
  MetadataIndex index;
  std::uint64_t size_in_bytes = 0;  ///< as stored
  Bytes storage_data;               ///< the storage writer's own, handed to finish() on the coordinator
  bool operator==(const WriteResult&) const = default;
};

}  // namespace holdfast
