#include "impl/plan/box_index.h"

#include <algorithm>
#include <numeric>

#include "impl/core/mutate.h"

namespace holdfast::plan {
namespace {

constexpr std::uint32_t leaf_boxes_max = 4;

std::int64_t end_of(const Box& box, std::size_t d) { return box.offset[d] + box.size[d]; }

std::size_t longest_dimension(const Box& box) { return static_cast<std::size_t>(std::ranges::max_element(box.size) - box.size.begin()); }

}  // namespace

BoxIndex::BoxIndex(std::vector<Box> boxes) : boxes_(std::move(boxes)), order_(boxes_.size()) {
  std::iota(order_.begin(), order_.end(), 0u);
  if (!boxes_.empty()) build(0, static_cast<std::uint32_t>(boxes_.size()));
}

Box BoxIndex::bounds_of(std::uint32_t begin, std::uint32_t end) const {
  Box bounds = boxes_[order_[begin]];
  for (std::uint32_t i = begin + 1; i < end; ++i) {
    const Box& box = boxes_[order_[i]];
    for (std::size_t d = 0; d < bounds.size.size(); ++d) {
      const std::int64_t last = std::max(end_of(bounds, d), end_of(box, d));
      bounds.offset[d] = std::min(bounds.offset[d], box.offset[d]);
      bounds.size[d] = last - bounds.offset[d];
    }
  }
  return bounds;
}

std::uint32_t BoxIndex::build(std::uint32_t begin, std::uint32_t end) {
  const auto number = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back({bounds_of(begin, end), begin, end, 0, 0});
  if (end - begin <= leaf_boxes_max || boxes_[order_[begin]].size.empty()) return number;
  const std::size_t dim = longest_dimension(nodes_[number].bounds);
  const std::uint32_t middle = begin + (end - begin) / 2;
  const auto at = [&](std::uint32_t i) { return order_.begin() + i; };
  std::nth_element(at(begin), at(middle), at(end),
                   [&](std::uint32_t a, std::uint32_t b) { return boxes_[a].offset[dim] < boxes_[b].offset[dim]; });
  const std::uint32_t lower = build(begin, middle);
  const std::uint32_t upper = build(middle, end);
  nodes_[number].lower = lower;
  nodes_[number].upper = upper;
  return number;
}

std::vector<std::size_t> BoxIndex::meeting(const Box& box) const {
  std::vector<std::size_t> found;
  std::vector<std::uint32_t> open;
  if (!nodes_.empty()) open.push_back(0);
  while (!open.empty()) {
    const Node& node = nodes_[open.back()];
    open.pop_back();
    if (!intersection(node.bounds, box)) continue;
    if (node.lower != 0) {
      open.push_back(node.lower);
      if (MUTATE("plan.index_forgets_half", true, false)) open.push_back(node.upper);
      continue;
    }
    for (std::uint32_t i = node.begin; i < node.end; ++i) {
      if (intersection(boxes_[order_[i]], box)) found.push_back(order_[i]);
    }
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace holdfast::plan
