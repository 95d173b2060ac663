#include "properties/gen/layouts.h"

#include <rapidcheck.h>

#include <algorithm>

#include "impl/core/check.h"
#include "impl/core/mark.h"

namespace holdfast::properties::gen {
namespace {

int below(int bound) { return *rc::gen::inRange(0, bound); }

/// A dimension cut over some placements: ranks may be missing, repeated, and in any order.
ChunkLayout draw_chunks(const Dims& shape, int world_size) {
  ChunkLayout layout;
  layout.dim = below(static_cast<int>(shape.size()));
  const int placements = 1 + below(world_size + 2);
  const bool in_order = *rc::gen::arbitrary<bool>();
  for (int p = 0; p < placements; ++p) layout.placements.push_back(Rank{in_order ? p % world_size : below(world_size)});
  return layout;
}

/// Boxes that tile the shape, cut at random, each on one rank or several.
EnumerableLayout draw_boxes(const Dims& shape, int world_size) {
  std::vector<Box> boxes{whole(shape)};
  for (int cuts = below(4); cuts > 0 && !shape.empty(); --cuts) {
    const auto at = static_cast<std::size_t>(below(static_cast<int>(boxes.size())));
    const auto dim = static_cast<std::size_t>(below(static_cast<int>(shape.size())));
    Box lower = boxes[at];
    Box upper = boxes[at];
    lower.size[dim] = below(static_cast<int>(boxes[at].size[dim]) + 1);
    upper.offset[dim] += lower.size[dim];
    upper.size[dim] -= lower.size[dim];
    if (lower.empty() || upper.empty()) continue;
    boxes[at] = std::move(lower);
    boxes.push_back(std::move(upper));
  }
  EnumerableLayout layout;
  for (const Box& box : boxes) {
    const int owner = below(world_size);
    for (int r = 0; r < world_size; ++r) {
      if (r == owner || below(4) == 0) layout.parts.push_back({Rank{r}, box});
    }
  }
  return layout;
}

/// The flattened tensor cut at random, ranges in any order.
FlatLayout draw_ranges(const Dims& shape, int world_size) {
  const auto elements = whole(shape).volume();
  std::vector<std::int64_t> cuts{0, elements};
  for (int more = below(2 * world_size); more > 0; --more) cuts.push_back(below(static_cast<int>(elements) + 1));
  std::ranges::sort(cuts);
  FlatLayout layout;
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) layout.ranges.push_back({Rank{below(world_size)}, cuts[i], cuts[i + 1] - cuts[i]});
  return layout;
}

/// Sizes of axes whose product is at most `ranks`.
std::vector<std::int64_t> draw_axes(int ranks) {
  std::vector<std::int64_t> sizes;
  for (int axes = below(4); axes > 0; --axes) {
    sizes.push_back(1 + below(std::min(ranks, 4)));
    ranks /= static_cast<int>(sizes.back());
  }
  return sizes;
}

Mesh draw_mesh(int world_size) {
  const std::vector<std::int64_t> sizes = draw_axes(world_size);
  Mesh mesh = packed_mesh(sizes);
  mesh.first = below(world_size - static_cast<int>(mesh.size()) + 1);
  // The same ranks in another order of axes, as a second mesh over a job sees them.
  if (mesh.axes.size() > 1 && below(3) == 0) std::swap(mesh.axes.front(), mesh.axes.back());
  return mesh;
}

Placement draw_placement(const MeshLayout& layout, const Dims& shape, std::size_t axis) {
  const int kind = shape.empty() ? 0 : below(6);
  const int dim = shape.empty() ? 0 : below(static_cast<int>(shape.size()));
  if (kind == 1 || kind == 2) return Shard{dim};
  if (kind == 3) {
    // Half of them as FSDP outside tensor parallelism has it, waiting for a later axis.
    const bool waits = axis + 1 < layout.mesh.axes.size() && *rc::gen::arbitrary<bool>();
    return StridedShard{dim, waits ? layout.mesh.axes[axis + 1].size : 1 + below(3)};
  }
  if (kind == 4) {
    const auto extent = shape[static_cast<std::size_t>(dim)];
    const std::int64_t first = below(static_cast<int>(extent) + 1);
    return Segments{dim, {first, extent - first}};
  }
  return Replicate{};
}

void draw_flat_cut(const Dims& shape, MeshLayout& layout) {
  auto axes = replicated_axes(layout);
  if (axes.empty() || below(2) == 0) return;
  std::vector<int> inner;
  if (axes.size() > 1 && below(2) == 0) {
    if (below(2) == 0) inner.push_back(axes.back());
    axes.pop_back();
  }
  FlatCut flat{{axes.begin(), axes.end()}, below(6), 1, 1 + below(3), {inner.begin(), inner.end()}, 1 + below(4)};
  std::int64_t runs = 1;
  for (const int axis : axes) runs *= layout.mesh.axes[static_cast<std::size_t>(axis)].size;
  flat.run = (flat.offset + uncut_elements(layout, shape, 0) + runs - 1) / runs + below(3);
  if (flat.run < 1) flat.run = 1;
  layout.flat = flat;
  if (!check(layout, shape)) layout.flat.reset();
}

}  // namespace

MeshLayout draw_mesh_layout(const Dims& shape, int world_size) {
  MeshLayout layout;
  layout.mesh = draw_mesh(world_size);
  for (std::size_t axis = 0; axis < layout.mesh.axes.size(); ++axis) {
    layout.placements.push_back(draw_placement(layout, shape, axis));
    // Segments must be the first cut of their dimension.
    MeshLayout so_far{{layout.mesh.first, {layout.mesh.axes.begin(), layout.mesh.axes.begin() + static_cast<std::ptrdiff_t>(axis) + 1}},
                      layout.placements,
                      {}};
    if (!check(so_far, shape)) layout.placements.back() = Replicate{};
  }
  draw_flat_cut(shape, layout);
  const Status fits = check(layout, shape, world_size);
  CHECK(fits.has_value(), "a layout was drawn that does not fit: {}", fits.error());
  if (layout.flat) MARK("gen.flat_cut");
  if (!replicated_axes(layout).empty()) MARK("gen.replicated_axis");
  return layout;
}

Layout draw_layout(const Dims& shape, int world_size) {
  switch (below(8)) {
    case 0: return ReplicatedLayout{};
    case 1: return draw_boxes(shape, world_size);
    case 2: return draw_ranges(shape, world_size);
    case 3:
    case 4:
    case 5: return draw_mesh_layout(shape, world_size);
    default: return shape.empty() ? Layout(ReplicatedLayout{}) : Layout(draw_chunks(shape, world_size));
  }
}

}  // namespace holdfast::properties::gen
