// Do boxes tile a region? Two questions on many boxes, answered without comparing all pairs.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "impl/core/box.h"

namespace holdfast::plan {

/// Positions of two boxes that share an element.
struct Overlap {
  std::size_t first = 0;
  std::size_t second = 0;
  bool operator==(const Overlap&) const = default;
};

/// For each box at most one box before it in sweep order that it meets: none exactly when all are disjoint, and never more than boxes.
/// A box without an element meets nothing; two 0-d boxes meet. Requires equally many dimensions and no overflow in offset + size.
/// Cost: n log n for layouts as they are; quadratic only for boxes built to be so.
std::vector<Overlap> find_overlaps(std::span<const Box> boxes);

/// A box inside `region` that none of `disjoint` meets; none when they cover all of it.
/// Requires disjoint boxes (find_overlaps), of the dimensions of `region`; they may reach beyond it.
std::optional<Box> find_uncovered(const Box& region, std::span<const Box> disjoint);

}  // namespace holdfast::plan
