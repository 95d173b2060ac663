#include "impl/plan/tiling.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>

namespace holdfast::plan {
namespace {

std::int64_t end_of(const Box& box, std::size_t dim) { return box.offset[dim] + box.size[dim]; }

/// The two dimensions with the most distinct starts: the sweep moves along the first, the active boxes are ordered by the second.
std::pair<std::size_t, std::size_t> sweep_dimensions(std::span<const Box> boxes, const std::vector<std::size_t>& order) {
  const std::size_t dims = boxes[order.front()].offset.size();
  std::vector<std::pair<std::size_t, std::size_t>> distinct;
  for (std::size_t d = 0; d < dims; ++d) {
    std::vector<std::int64_t> starts;
    for (const std::size_t i : order) starts.push_back(boxes[i].offset[d]);
    std::ranges::sort(starts);
    distinct.emplace_back(static_cast<std::size_t>(std::ranges::unique(starts).begin() - starts.begin()), d);
  }
  std::ranges::sort(distinct, [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  return {distinct[0].second, distinct[dims > 1 ? 1 : 0].second};
}

/// The boxes that the sweep line crosses, ordered by where they start across it.
class ActiveBoxes {
 public:
  ActiveBoxes(std::span<const Box> boxes, std::size_t along, std::size_t across) : boxes_(boxes), along_(along), across_(across) {}

  void advance_to(std::int64_t position) {
    while (!ends_.empty() && ends_.begin()->first <= position) {
      const std::size_t gone = ends_.begin()->second;
      ends_.erase(ends_.begin());
      starts_.erase({boxes_[gone].offset[across_], gone});
      lengths_.erase(lengths_.find(boxes_[gone].size[across_]));
    }
  }

  std::optional<std::size_t> meeting(const Box& box) const {
    if (lengths_.empty()) return std::nullopt;
    const std::int64_t first_start = box.offset[across_] - *lengths_.rbegin();
    for (auto at = starts_.upper_bound({first_start, boxes_.size()}); at != starts_.end() && at->first < end_of(box, across_); ++at) {
      if (intersection(boxes_[at->second], box)) return at->second;
    }
    return std::nullopt;
  }

  void insert(std::size_t index) {
    ends_.emplace(end_of(boxes_[index], along_), index);
    starts_.emplace(boxes_[index].offset[across_], index);
    lengths_.insert(boxes_[index].size[across_]);
  }

 private:
  std::span<const Box> boxes_;
  std::size_t along_;
  std::size_t across_;
  std::set<std::pair<std::int64_t, std::size_t>> ends_;
  std::set<std::pair<std::int64_t, std::size_t>> starts_;
  std::multiset<std::int64_t> lengths_;
};

std::vector<Box> clipped(std::span<const Box> boxes, const Box& region) {
  std::vector<Box> inside;
  for (const Box& box : boxes) {
    if (auto common = intersection(box, region)) inside.push_back(*std::move(common));
  }
  return inside;
}

std::int64_t total_volume(std::span<const Box> boxes) {
  std::int64_t sum = 0;
  for (const Box& box : boxes) sum += box.volume();
  return sum;
}

/// The lower and the upper half of `region`, cut in the middle of the box edges inside it, across the dimension that has most.
/// Requires boxes clipped to the region that do not fill it: then some edge is inside.
std::pair<Box, Box> halves(const Box& region, std::span<const Box> boxes) {
  std::size_t dim = 0;
  std::vector<std::int64_t> edges;
  for (std::size_t d = 0; d < region.offset.size(); ++d) {
    std::vector<std::int64_t> inside;
    for (const Box& box : boxes) {
      for (const std::int64_t edge : {box.offset[d], end_of(box, d)}) {
        if (edge > region.offset[d] && edge < end_of(region, d)) inside.push_back(edge);
      }
    }
    if (inside.size() > edges.size()) {
      edges = std::move(inside);
      dim = d;
    }
  }
  const auto middle = edges.begin() + static_cast<std::ptrdiff_t>(edges.size() / 2);
  std::ranges::nth_element(edges, middle);
  Box lower = region;
  Box upper = region;
  lower.size[dim] = *middle - region.offset[dim];
  upper.offset[dim] = *middle;
  upper.size[dim] = region.size[dim] - lower.size[dim];
  return {std::move(lower), std::move(upper)};
}

}  // namespace

std::vector<Overlap> find_overlaps(std::span<const Box> boxes) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    if (!boxes[i].empty()) order.push_back(i);
  }
  std::vector<Overlap> overlaps;
  if (order.size() < 2) return overlaps;
  if (boxes[order.front()].offset.empty()) {
    for (std::size_t i = 1; i < order.size(); ++i) overlaps.push_back({order[0], order[i]});
    return overlaps;
  }
  const auto [along, across] = sweep_dimensions(boxes, order);
  std::ranges::stable_sort(order, {}, [&, dim = along](std::size_t i) { return boxes[i].offset[dim]; });
  ActiveBoxes active(boxes, along, across);
  for (const std::size_t i : order) {
    active.advance_to(boxes[i].offset[along]);
    if (const auto other = active.meeting(boxes[i])) overlaps.push_back({*other, i});
    active.insert(i);
  }
  return overlaps;
}

std::optional<Box> find_uncovered(const Box& region, std::span<const Box> disjoint) {
  Box open = region;
  std::vector<Box> inside = clipped(disjoint, open);
  if (total_volume(inside) == open.volume()) return std::nullopt;
  while (!inside.empty()) {
    auto [lower, upper] = halves(open, inside);
    std::vector<Box> in_lower = clipped(inside, lower);
    if (total_volume(in_lower) < lower.volume()) {
      open = std::move(lower);
      inside = std::move(in_lower);
    } else {
      open = std::move(upper);
      inside = clipped(inside, open);
    }
  }
  return open;
}

}  // namespace holdfast::plan
