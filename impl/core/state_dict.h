// What a rank saves or loads: tensors, of which it holds some boxes, and byte values. Memory belongs to the caller.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/bytes.h"
#include "impl/core/dtype.h"
#include "impl/core/layout.h"
#include "impl/core/memory.h"
#include "impl/core/rank_values.h"

namespace holdfast {

/// A box of a tensor and the memory it lies in. memory.sizes == box.size.
struct LocalShard {
  Box box;
  StridedBlock memory;
};

struct TensorEntry {
  DType dtype = DType::f32;
  Dims shape;                      ///< of the whole tensor, the same on every rank
  bool sharded = false;            ///< false: a plain tensor, the whole of it on this rank (PyTorch's TENSOR item; else SHARD)
  std::vector<LocalShard> shards;  ///< what this rank holds; may be none
  /// The rule that the shards of all ranks follow, where there is one: plans then stay small. `shards` are this rank's part by it, in its order.
  std::optional<MeshLayout> rule = {};
};

/// A value that is no tensor. Saved as is; replaced as a whole by a load.
struct BytesEntry {
  Bytes value;
  std::optional<RankPolicy> per_rank = {};  ///< none: one value, the same on all ranks that have it; else each rank has its own
};

/// Named entries in name order, so that every rank visits equal keys in equal order. Holds addresses, not tensors: memory must stay where it is until a save
/// or load that was given the dict has returned. Adding blocks for nothing and reads no tensor.
class StateDict {
 public:
  using Entry = std::variant<TensorEntry, BytesEntry>;

  /// Adds a tensor laid out by `layout`; `data` is this rank's memory of it, packed, as local_part() describes it.
  /// Errors: invalid_argument for a name that is there already, a shape out of range or a layout that does not fit.
  Status add(std::string name, std::byte* data, DType dtype, const Dims& shape, const Layout& layout, Rank rank,
             MemoryKind kind = MemoryKind::host);
  /// Adds an entry as it is. Errors: invalid_argument for a name that is there already, a box out of bounds, memory of another size.
  Status add(std::string name, TensorEntry entry);
  /// Adds the parts of a tensor that lie in `buffer` with room around or between them, each a box of the buffer: padded and flat buffers, several boxes a
  /// rank (PyTorch's CheckpointableTensor). Errors: invalid_argument as above, and for a part outside the buffer or of other dimensions.
  struct BufferPart {
    Dims global_offset;
    Dims local_offset;
    Dims size;
  };
  Status add(std::string name, const StridedBlock& buffer, DType dtype, const Dims& global_shape, std::span<const BufferPart> parts);
  /// Errors: invalid_argument for a name that is there already.
  Status add_bytes(std::string name, Bytes value);
  /// A value that each rank has its own of: the state of a random number generator, of a data loader. `policy` says what a load by another number of
  /// ranks makes of it: the policy of the destination counts, and that of the saved state where there is no destination.
  Status add_rank_bytes(std::string name, Bytes value, RankPolicy policy);

  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }
  std::map<std::string, Entry, std::less<>>& entries() { return entries_; }
  /// Null when there is none of that name.
  const Entry* find(std::string_view name) const;
  Entry* find(std::string_view name);

 private:
  Status insert(std::string name, Entry entry);
  std::map<std::string, Entry, std::less<>> entries_;
};

/// Bytes of this rank's memory of a tensor, as add(name, data, ...) expects them. Errors: invalid_argument, as there.
Result<std::size_t> local_bytes(DType dtype, const Dims& shape, const Layout& layout, Rank rank);

}  // namespace holdfast
