// Which of many boxes meet another, without looking at all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "impl/core/box.h"

namespace holdfast::plan {

/// A tree of bounding boxes. Building it takes n log n; a query, the depth of the tree and what it finds, for boxes as layouts have them; it looks at all
/// only where all overlap. Requires boxes with equally many dimensions and no overflow in offset + size.
class BoxIndex {
 public:
  explicit BoxIndex(std::vector<Box> boxes);
  /// Positions of the boxes that share an element with `box`, ascending. Requires: the dimensions of the others.
  std::vector<std::size_t> meeting(const Box& box) const;

 private:
  struct Node {
    Box bounds;
    std::uint32_t begin = 0, end = 0;    ///< in order_
    std::uint32_t lower = 0, upper = 0;  ///< children; none of a leaf
  };
  std::uint32_t build(std::uint32_t begin, std::uint32_t end);
  Box bounds_of(std::uint32_t begin, std::uint32_t end) const;

  std::vector<Box> boxes_;
  std::vector<std::uint32_t> order_;
  std::vector<Node> nodes_;  ///< the first is the root
};

}  // namespace holdfast::plan
