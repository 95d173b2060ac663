#include "impl/core/chunk_set.h"

#include <algorithm>

#include "impl/core/check.h"
#include "impl/core/layout.h"

namespace holdfast {
namespace {

Box grid_box(const ChunkSet::Grid& grid, std::size_t index) {
  Box box = whole(grid.shape);
  const ChunkSplit split = chunk_split(grid.shape[grid.dim], grid.count);
  box.offset[grid.dim] = split.begin(static_cast<std::int64_t>(index));
  box.size[grid.dim] = split.size(static_cast<std::int64_t>(index));
  return box;
}

/// The grid that the sorted boxes are, if they are one.
std::optional<ChunkSet::Grid> as_grid(const std::vector<Box>& boxes, const Dims& shape) {
  if (boxes.size() < 2 || shape.empty()) return std::nullopt;
  std::size_t dim = 0;
  while (dim < shape.size() && boxes[1].offset[dim] == boxes[0].offset[dim]) ++dim;
  if (dim == shape.size()) return std::nullopt;
  ChunkSet::Grid grid{shape, static_cast<std::uint32_t>(dim), static_cast<std::uint32_t>(boxes.size())};
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    if (boxes[i].empty() || boxes[i] != grid_box(grid, i)) return std::nullopt;
  }
  return grid;
}

}  // namespace

ChunkSet::ChunkSet(std::vector<Box> boxes, const Dims& shape) {
  std::ranges::sort(boxes, [](const Box& a, const Box& b) { return a < b; });
  if (auto grid = as_grid(boxes, shape)) {
    chunks_ = *std::move(grid);
  } else {
    chunks_ = std::move(boxes);
  }
}

ChunkSet::ChunkSet(MeshLayout layout, const Dims& shape) {
  const std::int64_t most = holdfast::boxes_max(layout, shape);
  chunks_ = OfMesh{shape, std::move(layout), most};
}

std::size_t ChunkSet::size() const {
  if (const Grid* regular = grid()) return regular->count;
  if (const auto* boxes = std::get_if<0>(&chunks_)) return boxes->size();
  std::size_t count = 0;
  for_each([&](Id, const Box&) { ++count; });
  return count;
}

void ChunkSet::for_each(const std::function<void(Id, const Box&)>& visit) const {
  if (const OfMesh* rule = mesh()) {
    const std::int64_t positions = whole(rule->shape).empty() ? 1 : rule->layout.mesh.size();
    for (std::int64_t p = 0; p < positions; ++p) {
      auto id = static_cast<Id>(p * rule->boxes_max);
      for (const LocalBox& local : local_part(rule->layout, rule->shape, p)) visit(id++, local.box);
    }
    return;
  }
  for (std::size_t i = 0; i < size(); ++i) visit(i, box(i));
}

Box ChunkSet::box(Id id) const {
  if (const OfMesh* rule = mesh()) {
    const auto most = static_cast<Id>(rule->boxes_max);
    std::vector<LocalBox> boxes = local_part(rule->layout, rule->shape, static_cast<std::int64_t>(id / most));
    CHECK(id % most < boxes.size(), "chunk {} of a mesh", id);
    return std::move(boxes[id % most].box);
  }
  CHECK(id < size(), "chunk {} of {}", id, size());
  if (const Grid* regular = grid()) return grid_box(*regular, id);
  return std::get<0>(chunks_)[id];
}

ChunkSet::Holder ChunkSet::holder(Id id) const {
  const OfMesh* rule = mesh();
  CHECK(rule, "only the chunks of a mesh have holders");
  const auto most = static_cast<Id>(rule->boxes_max);
  return {rule->layout.mesh.rank(static_cast<std::int64_t>(id / most)), static_cast<std::int64_t>(id % most)};
}

std::optional<ChunkSet::Id> ChunkSet::find(const Dims& offset) const {
  if (const OfMesh* rule = mesh()) {
    if (whole(rule->shape).empty()) return offset == Dims(rule->shape.size(), 0) ? std::optional<Id>(0) : std::nullopt;
    const Box element{offset, Dims(rule->shape.size(), 1)};
    if (!in_bounds(element, rule->shape)) return std::nullopt;
    for (const Id id : intersecting(element)) {
      if (box(id).offset == offset) return id;
    }
    return std::nullopt;
  }
  if (const Grid* regular = grid()) {
    if (offset.size() != regular->shape.size()) return std::nullopt;
    const ChunkSplit split = chunk_split(regular->shape[regular->dim], regular->count);
    const std::int64_t start = offset[regular->dim];
    if (start < 0 || start >= split.extent || start % split.split != 0) return std::nullopt;
    const auto index = static_cast<Id>(start / split.split);
    return grid_box(*regular, index).offset == offset ? std::optional(index) : std::nullopt;
  }
  const auto& boxes = std::get<0>(chunks_);
  const auto position = std::ranges::lower_bound(boxes, offset, {}, &Box::offset);
  if (position == boxes.end() || position->offset != offset) return std::nullopt;
  return static_cast<Id>(position - boxes.begin());
}

std::vector<ChunkSet::Id> ChunkSet::intersecting(const Box& box) const {
  std::vector<Id> found;
  if (box.empty()) return found;
  if (const OfMesh* rule = mesh()) {
    for (const std::int64_t position : positions_near(rule->layout, rule->shape, box)) {
      auto id = static_cast<Id>(position * rule->boxes_max);
      for (const LocalBox& local : local_part(rule->layout, rule->shape, position)) {
        if (intersection(local.box, box)) found.push_back(id);
        ++id;
      }
    }
    return found;
  }
  if (const Grid* regular = grid()) {
    const ChunkSplit split = chunk_split(regular->shape[regular->dim], regular->count);
    const std::int64_t begin = box.offset[regular->dim];
    const std::int64_t end = begin + box.size[regular->dim];
    for (std::int64_t i = begin / split.split; i * split.split < end; ++i) found.push_back(static_cast<Id>(i));
    return found;
  }
  const auto& boxes = std::get<0>(chunks_);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    if (intersection(boxes[i], box)) found.push_back(i);
  }
  return found;
}

}  // namespace holdfast
