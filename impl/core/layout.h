// How a tensor is cut over the ranks. A layout is a rule; local_boxes() says what it means for one rank.
#pragma once

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/ids.h"

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

using Layout = std::variant<ReplicatedLayout, ChunkLayout>;

/// One dimension cut into `count` chunks of `split` elements, the last ones clamped to `extent`.
/// Source: torch.chunk, as ChunkShardingSpec uses it; our empty chunks start at `extent`, in bounds.
struct ChunkSplit {
  std::int64_t extent = 0;
  std::int64_t split = 0;
  std::int64_t begin(std::int64_t chunk) const { return std::min(extent, split * chunk); }
  std::int64_t size(std::int64_t chunk) const { return begin(chunk + 1) - begin(chunk); }
};
ChunkSplit chunk_split(std::int64_t extent, std::int64_t chunks);

/// The boxes of `rank`, in the order of the placements; none when the layout does not name the rank. Empty chunks are included.
/// Errors: invalid_argument when the dimension is out of range or no placement is given.
Result<std::vector<Box>> local_boxes(const Layout& layout, const Dims& shape, Rank rank);

std::string to_string(const Layout& layout);  ///< "replicated", "chunk(dim 0 over ranks 0,1,2)"

}  // namespace holdfast
