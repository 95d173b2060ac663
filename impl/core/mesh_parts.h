// What the parts of a layout by mesh and the checks of one both look at. Private to impl/core.
#pragma once

#include "impl/core/mesh_layout.h"

namespace holdfast {

/// Numbers of axes of a mesh.
using Axes = boost::container::small_vector<int, 2>;

inline std::int64_t ranks_along(const Mesh& mesh, const Axes& axes) {
  std::int64_t count = 1;
  for (const int axis : axes) count *= mesh.axes[static_cast<std::size_t>(axis)].size;
  return count;
}

/// The dimension that a placement cuts; -1: none.
inline int dim_of(const Placement& placement) {
  if (const auto* shard = std::get_if<Shard>(&placement)) return shard->dim;
  if (const auto* strided = std::get_if<StridedShard>(&placement)) return strided->dim;
  if (const auto* segments = std::get_if<Segments>(&placement)) return segments->dim;
  return -1;
}

}  // namespace holdfast
