// What a rank holds by any layout, said so naively that it can be believed: a list of coordinates along each dimension, cut by counting.
#pragma once

#include <cstdint>
#include <vector>

#include "impl/core/layout.h"

namespace holdfast::model {

/// The row-major numbers of the elements that `rank` holds, in the order in which they lie in its memory. Requires a layout that fits the shape.
std::vector<std::int64_t> held_elements(const Layout& layout, const Dims& shape, Rank rank);

/// The coordinates along dimension `dim` that the placements leave to the rank at `coordinates` along the axes, as its memory joins them.
std::vector<std::int64_t> kept_along(const MeshLayout& layout, const Dims& shape, std::size_t dim,
                                     const std::vector<std::int64_t>& coordinates);

/// True when along every axis of the mesh the layout gives something else to each rank: what is saved may be described by it.
bool replicates(const MeshLayout& layout);

}  // namespace holdfast::model
