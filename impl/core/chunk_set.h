// The chunks of one saved tensor: a list of boxes, or a rule for them.
#pragma once

#include <functional>
#include <optional>
#include <variant>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/mesh_layout.h"

namespace holdfast {

/// Where the chunks of a tensor lie. Each has an id; ids rise in the order of for_each. Chunks of a list or a grid are sorted by offset and numbered from 0
/// without gaps; those of a mesh go by position, and ids have gaps.
class ChunkSet {
 public:
  using Id = std::uint64_t;

  /// One dimension cut evenly from 0 (ChunkLayout).
  struct Grid {
    Dims shape;
    std::uint32_t dim = 0;
    std::uint32_t count = 0;  ///< chunks; all of them non-empty, together the whole tensor
    bool operator==(const Grid&) const = default;
  };
  /// The boxes of every position of a layout along which nothing is replicated: together the whole tensor, each element once. The chunk of id
  /// p * boxes_max + k is the k-th box of position p.
  struct OfMesh {
    Dims shape;
    MeshLayout layout;
    std::int64_t boxes_max = 1;
    bool operator==(const OfMesh&) const = default;
  };

  ChunkSet() = default;
  /// Sorts, and recognises a grid.
  ChunkSet(std::vector<Box> boxes, const Dims& shape);
  explicit ChunkSet(Grid grid) : chunks_(std::move(grid)) {}
  /// Requires: a layout that check() accepts, with no replicated_axes().
  ChunkSet(MeshLayout layout, const Dims& shape);

  /// Number of chunks. Time of a mesh: in proportion to its ranks.
  std::size_t size() const;
  void for_each(const std::function<void(Id, const Box&)>& visit) const;
  /// The chunk of a list, a grid or a mesh. Requires: an id of this set.
  Box box(Id id) const;
  /// The chunk that starts at `offset`; none when no chunk does.
  std::optional<Id> find(const Dims& offset) const;
  /// The chunks that share an element with `box`, ascending.
  std::vector<Id> intersecting(const Box& box) const;

  const Grid* grid() const { return std::get_if<Grid>(&chunks_); }
  const OfMesh* mesh() const { return std::get_if<OfMesh>(&chunks_); }
  /// The rank that holds the chunk, and the number of the chunk among the rank's boxes. Requires: mesh().
  struct Holder {
    Rank rank;
    std::int64_t number = 0;
  };
  Holder holder(Id id) const;
  bool operator==(const ChunkSet&) const = default;

 private:
  std::variant<std::vector<Box>, Grid, OfMesh> chunks_;
};

}  // namespace holdfast
