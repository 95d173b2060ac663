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

Result<std::vector<Box>> listed_boxes(const EnumerableLayout& layout, const Dims& shape, Rank rank) {
  std::vector<Box> boxes;
  for (const EnumerableLayout::Part& part : layout.parts) {
    if (part.rank != rank) continue;
    if (!in_bounds(part.box, shape)) {
      return fail(ErrorCode::invalid_argument, "layout: box {} of rank {} outside shape {}", to_string(part.box), rank,
                  to_string({shape.data(), shape.size()}));
    }
    boxes.push_back(part.box);
  }
  return boxes;
}

Dims packed_strides(const Dims& size) {
  Dims strides(size.size(), 1);
  for (std::size_t d = size.size(); d-- > 1;) strides[d - 1] = strides[d] * size[d];
  return strides;
}

std::vector<LocalBox> packed(std::vector<Box> boxes) {
  std::vector<LocalBox> part;
  std::int64_t start = 0;
  for (Box& box : boxes) {
    const std::int64_t elements = box.volume();
    Dims strides = packed_strides(box.size);
    part.push_back({std::move(box), start, std::move(strides)});
    start += elements;
  }
  return part;
}

Result<std::vector<LocalBox>> flat_part(const FlatLayout& layout, const Dims& shape, Rank rank) {
  const std::int64_t elements = volume({shape.data(), shape.size()});
  std::vector<LocalBox> part;
  std::int64_t start = 0;
  for (const FlatLayout::Range& range : layout.ranges) {
    if (range.rank != rank) continue;
    if (range.begin < 0 || range.length < 0 || range.length > elements || range.begin > elements - range.length) {
      return fail(ErrorCode::invalid_argument, "layout: range {}+{} of rank {} outside {} elements", range.begin, range.length, rank,
                  elements);
    }
    if (elements == 0) return packed({whole(shape)});
    append_flat_range(whole(shape), range.begin, range.begin + range.length, start, part);
    start += range.length;
  }
  return part;
}

}  // namespace

ChunkSplit chunk_split(std::int64_t extent, std::int64_t chunks) { return {extent, (extent + chunks - 1) / chunks}; }

Result<std::vector<LocalBox>> local_part(const Layout& layout, const Dims& shape, Rank rank) {
  TRY(checked_volume({shape.data(), shape.size()}));
  if (const auto* mesh = std::get_if<MeshLayout>(&layout)) {
    TRY(check(*mesh, shape));
    const auto position = mesh->mesh.position(rank);
    return position ? local_part(*mesh, shape, *position) : std::vector<LocalBox>();
  }
  if (const auto* flat = std::get_if<FlatLayout>(&layout)) return flat_part(*flat, shape, rank);
  if (const auto* chunk = std::get_if<ChunkLayout>(&layout)) return packed(TRY(chunk_boxes(*chunk, shape, rank)));
  if (const auto* boxes = std::get_if<EnumerableLayout>(&layout)) return packed(TRY(listed_boxes(*boxes, shape, rank)));
  return packed({whole(shape)});
}

Result<std::vector<Box>> local_boxes(const Layout& layout, const Dims& shape, Rank rank) {
  std::vector<Box> boxes;
  for (LocalBox& local : TRY(local_part(layout, shape, rank))) boxes.push_back(std::move(local.box));
  return boxes;
}

std::string to_string(const Layout& layout) {
  if (const auto* mesh = std::get_if<MeshLayout>(&layout)) return to_string(*mesh);
  if (const auto* flat = std::get_if<FlatLayout>(&layout)) return fmt::format("flat({} ranges)", flat->ranges.size());
  if (const auto* boxes = std::get_if<EnumerableLayout>(&layout)) return fmt::format("boxes({})", boxes->parts.size());
  const auto* chunk = std::get_if<ChunkLayout>(&layout);
  if (!chunk) return "replicated";
  return fmt::format("chunk(dim {} over ranks {})", chunk->dim, fmt::join(chunk->placements, ","));
}

}  // namespace holdfast
