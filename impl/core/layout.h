// How a tensor is cut over the ranks. A layout is a rule; local_part() says what it means for one rank.
#pragma once

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/ids.h"
#include "impl/core/mesh_layout.h"

namespace holdfast {

/// Every rank holds the whole tensor.
struct ReplicatedLayout {
  bool operator==(const ReplicatedLayout&) const = default;
};

/// Dimension `dim` is cut into placements.size() chunks as torch.chunk cuts: ceil(n / chunks) elements each, the last ones smaller or
/// empty. Chunk i lies on rank placements[i]; a rank may be named several times or not at all (PyTorch's ChunkShardingSpec).
struct ChunkLayout {
  int dim = 0;
  std::vector<Rank> placements;
  bool operator==(const ChunkLayout&) const = default;
};

/// Boxes, named one by one; a rank may hold several or none, and several ranks may hold the same box.
struct EnumerableLayout {
  struct Part {
    Rank rank;
    Box box;
    bool operator==(const Part&) const = default;
  };
  std::vector<Part> parts;
  bool operator==(const EnumerableLayout&) const = default;
};

/// Ranges of the flattened tensor (row-major), named one by one: flat buffers of uneven lengths, as of FSDP 1 or ZeRO. Where a rule cuts them, a
/// FlatCut of a MeshLayout says the same in a few numbers.
struct FlatLayout {
  struct Range {
    Rank rank;
    std::int64_t begin = 0;   ///< elements
    std::int64_t length = 0;  ///< elements
    bool operator==(const Range&) const = default;
  };
  std::vector<Range> ranges;
  bool operator==(const FlatLayout&) const = default;
};

using Layout = std::variant<ReplicatedLayout, ChunkLayout, EnumerableLayout, MeshLayout, FlatLayout>;

/// One dimension cut into `count` chunks of `split` elements, the last ones clamped to `extent`.
/// Source: torch.chunk, as ChunkShardingSpec uses it; our empty chunks start at `extent`, in bounds.
struct ChunkSplit {
  std::int64_t extent = 0;
  std::int64_t split = 0;
  std::int64_t begin(std::int64_t chunk) const { return std::min(extent, split * chunk); }
  std::int64_t size(std::int64_t chunk) const { return begin(chunk + 1) - begin(chunk); }
};
/// `extent` elements cut into `chunks`. Requires: chunks > 0.
ChunkSplit chunk_split(std::int64_t extent, std::int64_t chunks);

/// What `rank` holds, in the order of the layout, and where each box lies in the rank's memory of the tensor: parts named one by one lie packed one
/// after the other; what placements of a mesh join is one local tensor; a flat range is as long as its elements. None when the layout does not name the
/// rank. Empty chunks of a ChunkLayout are included, as are empty parts of an EnumerableLayout.
/// Errors: invalid_argument for a layout that does not fit the shape.
Result<std::vector<LocalBox>> local_part(const Layout& layout, const Dims& shape, Rank rank);
/// The boxes of local_part alone. Errors: as local_part.
Result<std::vector<Box>> local_boxes(const Layout& layout, const Dims& shape, Rank rank);

std::string to_string(
    const Layout& layout);  ///< "replicated", "chunk(dim 0 over ranks 0,1,2)", "boxes(3)", "flat(3 ranges)", or the mesh's

}  // namespace holdfast
