// What a rank saves or loads: tensors, of which it holds some boxes, and byte values. Memory belongs to the caller.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/bytes.h"
#include "impl/core/dtype.h"
#include "impl/core/layout.h"
#include "impl/core/memory.h"

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
};

/// A value that is no tensor. Saved as is; replaced as a whole by a load.
struct BytesEntry {
  Bytes value;
};

/// Named entries in name order, so that every rank visits equal keys in equal order.
class StateDict {
 public:
  using Entry = std::variant<TensorEntry, BytesEntry>;

  /// Adds a tensor laid out by `layout` whose local chunks lie packed one after the other at `data`.
  /// Errors: invalid_argument for a name that is there already, a shape out of range or a layout that does not fit.
  Status add(std::string name, std::byte* data, DType dtype, const Dims& shape, const Layout& layout, Rank rank,
             MemoryKind kind = MemoryKind::host);
  /// Adds an entry as it is. Errors: invalid_argument for a name that is there already, a box out of bounds, memory of another size.
  Status add(std::string name, TensorEntry entry);
  Status add_bytes(std::string name, Bytes value);

  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }
  std::map<std::string, Entry, std::less<>>& entries() { return entries_; }
  const Entry* find(std::string_view name) const;
  Entry* find(std::string_view name);

 private:
  Status insert(std::string name, Entry entry);
  std::map<std::string, Entry, std::less<>> entries_;
};

/// Bytes of the local chunks of a tensor, as add(name, data, ...) expects them.
Result<std::size_t> local_bytes(DType dtype, const Dims& shape, const Layout& layout, Rank rank);

}  // namespace holdfast
