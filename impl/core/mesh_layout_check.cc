// Whether a layout by mesh is one: of ranks that are there, of dimensions that the tensor has, and reaching all of its elements.
#include <algorithm>

#include "impl/core/check.h"
#include "impl/core/mesh_parts.h"

namespace holdfast {
namespace {

Status check_mesh(const Mesh& mesh, std::int64_t world_size) {
  const auto wrong = [&](std::string_view what) { return fail(ErrorCode::invalid_argument, "{}: {}", to_string(mesh), what); };
  if (mesh.first < 0) return wrong("it starts below rank 0");
  if (mesh.first >= std::int64_t{1} << 31) return wrong("it passes rank 2^31");
  std::vector<MeshAxis> axes(mesh.axes.begin(), mesh.axes.end());
  std::ranges::sort(axes, {}, &MeshAxis::stride);
  std::int64_t span = 1;  // of the ranks that the axes so far reach
  for (const MeshAxis& axis : axes) {
    if (axis.size < 1) return wrong("an axis without ranks");
    if (axis.size == 1) continue;
    if (axis.stride < span) return wrong("two positions would be the same rank");
    if (axis.size > (std::int64_t{1} << 31) / axis.stride) return wrong("it passes rank 2^31");
    span += (axis.size - 1) * axis.stride;
  }
  if (mesh.first + span > (std::int64_t{1} << 31)) return wrong("it passes rank 2^31");
  if (world_size > 0 && mesh.first + span > world_size) return wrong(fmt::format("the job has {} ranks", world_size));
  return {};
}

Status check_placement(const MeshLayout& layout, std::size_t axis, const Dims& shape) {
  const Placement& placement = layout.placements[axis];
  const int dim = dim_of(placement);
  if (std::holds_alternative<Replicate>(placement)) return {};
  const auto wrong = [&](std::string_view what) {
    return fail(ErrorCode::invalid_argument, "{}: placement {} of a tensor of shape {}: {}", to_string(layout), axis,
                to_string({shape.data(), shape.size()}), what);
  };
  if (dim < 0 || dim >= static_cast<int>(shape.size())) return wrong(fmt::format("there is no dimension {}", dim));
  if (const auto* strided = std::get_if<StridedShard>(&placement); strided && strided->split < 1) return wrong("it is split into no parts");
  const auto* segments = std::get_if<Segments>(&placement);
  if (!segments) return {};
  for (std::size_t a = 0; a < axis; ++a) {
    if (dim_of(layout.placements[a]) == dim) return wrong("segments must be the first cut of their dimension");
  }
  std::int64_t sum = 0;
  for (const std::int64_t size : segments->lengths) {
    if (size < 0 || size > shape[static_cast<std::size_t>(dim)] - sum) return wrong("a segment of a length that cannot be");
    sum += size;
  }
  if (sum != shape[static_cast<std::size_t>(dim)]) {
    return wrong(fmt::format("its segments add up to {}, not {}", sum, shape[static_cast<std::size_t>(dim)]));
  }
  return {};
}

Status check_flat(const MeshLayout& layout, const Dims& shape) {
  const FlatCut& flat = *layout.flat;
  const auto wrong = [&](std::string_view what) { return fail(ErrorCode::invalid_argument, "{}: {}", to_string(layout), what); };
  std::vector<bool> used(layout.mesh.axes.size(), false);
  for (const auto* axes : {&flat.axes, &flat.inner_axes}) {
    for (const int axis : *axes) {
      const auto a = static_cast<std::size_t>(axis);
      if (axis < 0 || a >= used.size() || used[a]) return wrong("the flat cut names an axis that is not there, or one twice");
      if (!std::holds_alternative<Replicate>(layout.placements[a])) return wrong("the flat cut names an axis that a placement has cut");
      used[a] = true;
    }
  }
  if (flat.offset < 0 || flat.run < 1 || flat.unit < 1 || flat.inner_unit < 1) {
    return wrong("a flat cut needs offset >= 0, run >= 1, unit >= 1, inner unit >= 1");
  }
  constexpr std::int64_t limit = std::int64_t{1} << 61;  // the sum of any three of these numbers is below 2^63
  const std::int64_t runs = ranks_along(layout.mesh, flat.axes);
  if (flat.offset > limit || flat.unit > limit || flat.inner_unit > limit || flat.run > limit / runs) {
    return wrong("a flat cut over 2^61 elements");
  }
  const std::int64_t largest = uncut_elements(layout, shape, 0);
  if (flat.run * runs - flat.offset < largest) {
    return wrong(fmt::format("{} runs of {} elements do not reach the end of {} at {}", runs, flat.run, largest, flat.offset));
  }
  const std::int64_t unit = flat.inner_axes.empty() ? flat.unit : std::min(flat.unit, flat.inner_unit);
  if (unit < largest && !can_cut_flat(layout, shape)) {
    return wrong("a flat cut through boxes that are joined along a dimension other than the first");
  }
  return {};
}

}  // namespace

Status check(const MeshLayout& layout, const Dims& shape, std::int64_t world_size) {
  TRY(checked_volume({shape.data(), shape.size()}));
  TRY(check_mesh(layout.mesh, world_size));
  if (layout.placements.size() != layout.mesh.axes.size()) {
    return fail(ErrorCode::invalid_argument, "{}: {} placements for {} axes", to_string(layout.mesh), layout.placements.size(),
                layout.mesh.axes.size());
  }
  for (std::size_t axis = 0; axis < layout.placements.size(); ++axis) TRY(check_placement(layout, axis, shape));
  if (layout.flat) TRY(check_flat(layout, shape));
  return {};
}

}  // namespace holdfast
