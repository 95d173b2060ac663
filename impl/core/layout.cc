#include "impl/core/layout.h"

namespace holdfast {
namespace {

Result<std::vector<Box>> chunk_boxes(const ChunkLayout& layout, const Dims& shape, Rank rank) {
  const auto dims = static_cast<int>(shape.size());
  if (layout.dim < 0 || layout.dim >= dims) {
    return fail(ErrorCode::invalid_argument, "chunk layout: dimension {} of a tensor of shape {}", layout.dim,
                to_string({shape.data(), shape.size()}));
  }
  if (layout.placements.empty()) return fail(ErrorCode::invalid_argument, "chunk layout: no placements");
  const auto dim = static_cast<std::size_t>(layout.dim);
  const ChunkSplit split = chunk_split(shape[dim], static_cast<std::int64_t>(layout.placements.size()));
  std::vector<Box> boxes;
  for (std::size_t chunk = 0; chunk < layout.placements.size(); ++chunk) {
    if (layout.placements[chunk] != rank) continue;
    Box box = whole(shape);
    box.offset[dim] = split.begin(static_cast<std::int64_t>(chunk));
    box.size[dim] = split.size(static_cast<std::int64_t>(chunk));
    boxes.push_back(std::move(box));
  }
  return boxes;
}

}  // namespace

ChunkSplit chunk_split(std::int64_t extent, std::int64_t chunks) { return {extent, (extent + chunks - 1) / chunks}; }

Result<std::vector<Box>> local_boxes(const Layout& layout, const Dims& shape, Rank rank) {
  TRY(checked_volume({shape.data(), shape.size()}));
  if (const auto* chunk = std::get_if<ChunkLayout>(&layout)) return chunk_boxes(*chunk, shape, rank);
  return std::vector<Box>{whole(shape)};
}

std::string to_string(const Layout& layout) {
  const auto* chunk = std::get_if<ChunkLayout>(&layout);
  if (!chunk) return "replicated";
  return fmt::format("chunk(dim {} over ranks {})", chunk->dim, fmt::join(chunk->placements, ","));
}

}  // namespace holdfast
