#include "impl/core/plan_values.h"

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

std::string to_string(const MetadataIndex& index) {
  if (!index.offset) return index.fqn;
  return index.fqn + "@" + to_string({index.offset->data(), index.offset->size()});
}

ChunkSet::ChunkSet(std::vector<Box> boxes, const Dims& shape) {
  std::ranges::sort(boxes, [](const Box& a, const Box& b) { return a < b; });
  if (auto grid = as_grid(boxes, shape)) {
    chunks_ = *std::move(grid);
  } else {
    chunks_ = std::move(boxes);
  }
}

std::size_t ChunkSet::size() const {
  if (const Grid* regular = grid()) return regular->count;
  return std::get<0>(chunks_).size();
}

Box ChunkSet::box(std::size_t index) const {
  CHECK(index < size(), "chunk {} of {}", index, size());
  if (const Grid* regular = grid()) return grid_box(*regular, index);
  return std::get<0>(chunks_)[index];
}

std::optional<std::size_t> ChunkSet::find(const Dims& offset) const {
  if (const Grid* regular = grid()) {
    if (offset.size() != regular->shape.size()) return std::nullopt;
    const ChunkSplit split = chunk_split(regular->shape[regular->dim], regular->count);
    const std::int64_t start = offset[regular->dim];
    if (start < 0 || start >= split.extent || start % split.split != 0) return std::nullopt;
    const auto index = static_cast<std::size_t>(start / split.split);
    return grid_box(*regular, index).offset == offset ? std::optional(index) : std::nullopt;
  }
  const auto& boxes = std::get<0>(chunks_);
  const auto position = std::ranges::lower_bound(boxes, offset, {}, &Box::offset);
  if (position == boxes.end() || position->offset != offset) return std::nullopt;
  return static_cast<std::size_t>(position - boxes.begin());
}

std::vector<std::size_t> ChunkSet::intersecting(const Box& box) const {
  std::vector<std::size_t> found;
  if (const Grid* regular = grid()) {
    if (box.empty()) return found;
    const ChunkSplit split = chunk_split(regular->shape[regular->dim], regular->count);
    const std::int64_t begin = box.offset[regular->dim];
    const std::int64_t end = begin + box.size[regular->dim];
    for (std::int64_t i = begin / split.split; i * split.split < end; ++i) found.push_back(static_cast<std::size_t>(i));
    return found;
  }
  const auto& boxes = std::get<0>(chunks_);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    if (intersection(boxes[i], box)) found.push_back(i);
  }
  return found;
}

}  // namespace holdfast
