// Layouts over a mesh of ranks: a rule of a few numbers, whatever the number of ranks. What a rank holds comes out of it lazily.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/ids.h"

namespace holdfast {

/// `size` ranks, each `stride` after the one before.
struct MeshAxis {
  std::int64_t size = 1;
  std::int64_t stride = 1;
  bool operator==(const MeshAxis&) const = default;
};

/// The ranks first + sum of coordinate * stride, axes outermost first. A stage of a pipeline is a mesh whose `first` is not 0; two meshes over the
/// same ranks differ in sizes and strides. A *position* numbers the ranks of a mesh row-major over its axes, from 0.
struct Mesh {
  std::int64_t first = 0;
  boost::container::small_vector<MeshAxis, 4> axes;

  std::int64_t size() const;
  Rank rank(std::int64_t position) const;
  /// None for a rank that is not in the mesh.
  std::optional<std::int64_t> position(Rank rank) const;
  bool operator==(const Mesh&) const = default;
};

/// A mesh with packed strides over the ranks from `first` on, the last axis varying fastest (PyTorch's init_device_mesh).
Mesh packed_mesh(std::span<const std::int64_t> sizes, std::int64_t first = 0);

/// Every rank along the axis holds the same.
struct Replicate {
  bool operator==(const Replicate&) const = default;
};
/// Dimension `dim` of what is at hand is cut into as many parts as the axis has ranks, as torch.chunk cuts: ceil(n / size) each, the last ones
/// smaller or empty.
struct Shard {
  int dim = 0;
  bool operator==(const Shard&) const = default;
};
/// Dimension `dim` is first cut into `split` parts, then each of them along this axis (DTensor's _StridedShard, split_factor). Where later axes
/// cut the same dimension by Shard into exactly `split` parts, theirs are the parts, and a rank holds one interval: FSDP outside tensor
/// parallelism. Otherwise a rank holds a piece of each part: several boxes, joined along `dim` in its memory.
struct StridedShard {
  int dim = 0;
  std::int64_t split = 1;
  bool operator==(const StridedShard&) const = default;
};
/// Dimension `dim` consists of segments of `lengths`, each cut as by Shard; a rank holds its part of every segment, joined along `dim` in its
/// memory: fused projections. Must come before any other cut of the dimension.
struct Segments {
  int dim = 0;
  boost::container::small_vector<std::int64_t, 3> lengths;
  bool operator==(const Segments&) const = default;
};
using Placement = std::variant<Replicate, Shard, StridedShard, Segments>;

/// A cut by elements, without regard to rows: ZeRO 1, FSDP 1, Megatron's distributed optimizer. What the placements leave to a rank, flattened row-major,
/// lies at `offset` of a longer line that is cut into runs of `run` elements; the i-th rank along `axes` (the first outermost) holds what its
/// run has of it. Cuts inside the tensor are moved down to a multiple of `unit` elements: rows, for example.
struct FlatCut {
  boost::container::small_vector<int, 2> axes;  ///< axes of the mesh that the placements replicate along
  std::int64_t offset = 0;
  std::int64_t run = 1;
  std::int64_t unit = 1;
  /// Axes along which each run is cut once more: the k-th of n ranks along them (the first outermost) holds elements [k * p, (k + 1) * p) of its run,
  /// p = ceil(run / n). These cuts are moved down to a multiple of `inner_unit` elements of the tensor, but never out of the run.
  boost::container::small_vector<int, 2> inner_axes = {};
  std::int64_t inner_unit = 1;
  bool operator==(const FlatCut&) const = default;
};

/// placements[i] belongs to mesh.axes[i]; they are applied in order (but see StridedShard), then the flat cut.
struct MeshLayout {
  Mesh mesh;
  boost::container::small_vector<Placement, 4> placements;
  std::optional<FlatCut> flat;
  bool operator==(const MeshLayout&) const = default;
};

/// A box and where it lies in the rank's own memory of the tensor: element (i, j, ...) of the box at start + sum of i_d * strides_d, in elements.
struct LocalBox {
  Box box;
  std::int64_t start = 0;
  Dims strides;
  bool operator==(const LocalBox&) const = default;
};

/// Errors, invalid_argument: a mesh whose ranks are not distinct, below 0 or (with world_size > 0) not below it; placements that do not fit mesh or
/// shape; segments that do not add up; a flat cut that leaves elements to nobody, or that cuts a part of several boxes joined along a dimension
/// other than the first.
Status check(const MeshLayout& layout, const Dims& shape, std::int64_t world_size = 0);

// Requires of the rest: a layout that check() accepts.

/// Whether a flat cut may go through what the placements leave to a rank: boxes that are joined along the first dimension at most.
bool can_cut_flat(const MeshLayout& layout, const Dims& shape);

/// The axes of more than one rank along which all ranks hold the same boxes.
std::vector<int> replicated_axes(const MeshLayout& layout);

/// What the rank at `position` holds, in the order of its memory, no empty box; of a tensor without elements the whole (empty) box.
/// A flat range of an n-dimensional box is at most 2n - 1 boxes.
std::vector<LocalBox> local_part(const MeshLayout& layout, const Dims& shape, std::int64_t position);
/// An upper bound of the number of boxes a rank holds.
std::int64_t boxes_max(const MeshLayout& layout, const Dims& shape);
/// Sizes of what the placements leave to the rank at `position`, before the flat cut: of its boxes joined in memory. At position 0 they are largest.
Dims uncut_sizes(const MeshLayout& layout, const Dims& shape, std::int64_t position);
/// Their product.
std::int64_t uncut_elements(const MeshLayout& layout, const Dims& shape, std::int64_t position);

/// The positions whose boxes may share an element with `box`, ascending; of ranks that hold the same only the first. Takes time in proportion to the answer
/// and to the sizes of the axes, not to their product.
std::vector<std::int64_t> positions_near(const MeshLayout& layout, const Dims& shape, const Box& box);

/// Appends the boxes that elements [begin, end) of `box`, row-major, are: at most 2n - 1. `start` is where the range begins in memory.
void append_flat_range(const Box& box, std::int64_t begin, std::int64_t end, std::int64_t start, std::vector<LocalBox>& out);

std::string to_string(const Mesh& mesh);          ///< "mesh(8x4 from 0)", strides where they are not packed: "mesh(8:16x4:1 from 32)"
std::string to_string(const MeshLayout& layout);  ///< "mesh(2x4 from 0) [replicate,shard(0)] flat(axes 0 at 0 by 96 in 8s, then axes 1)"

}  // namespace holdfast
