// Dims and boxes: half-open regions in the coordinates of a whole tensor, in elements.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

#include "impl/core/error.h"

namespace holdfast {

/// One integer a dimension, outermost first: a shape, an offset or a size, in elements. A 0-d tensor has none.
using Dims = boost::container::small_vector<std::int64_t, 4>;

/// Product of the sizes; 1 for a 0-d shape.
std::int64_t volume(std::span<const std::int64_t> sizes);
/// As `volume`. Errors: invalid_argument when a size is negative or the product passes 2^62.
Result<std::int64_t> checked_volume(std::span<const std::int64_t> sizes);
std::string to_string(std::span<const std::int64_t> dims);  ///< "[3,4]"

/// The region [offset, offset + size). PyTorch calls it a chunk (ChunkStorageMetadata).
struct Box {
  Dims offset;
  Dims size;

  std::int64_t volume() const { return holdfast::volume({size.data(), size.size()}); }
  bool empty() const { return volume() == 0; }
  bool operator==(const Box&) const = default;
};

bool operator<(const Box& a, const Box& b);  ///< lexicographic by offset, then size: a total order for sorting

/// All of a tensor of `shape`.
Box whole(const Dims& shape);
/// The common region. None when it holds no element; a 0-d box meets a 0-d box. Requires: boxes of equally many dimensions.
std::optional<Box> intersection(const Box& a, const Box& b);
/// Whether `inner` lies inside `outer`. Requires: boxes of equally many dimensions.
bool contains(const Box& outer, const Box& inner);
/// True when the box has the dimensions of `shape`, no negative number, and lies inside.
bool in_bounds(const Box& box, const Dims& shape);
std::string to_string(const Box& box);  ///< "[0,2]+[4,4]": offset + size

}  // namespace holdfast
