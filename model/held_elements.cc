#include "model/held_elements.h"

#include <algorithm>
#include <numeric>

#include "model/global_state.h"

namespace holdfast::model {
namespace {

using Numbers = std::vector<std::int64_t>;

/// Part `index` of `count` of a list, as torch.chunk gives it.
Numbers chunk(const Numbers& list, std::int64_t index, std::int64_t count) {
  const std::int64_t n = std::ssize(list);
  const std::int64_t each = n / count + (n % count != 0 ? 1 : 0);
  Numbers part;
  for (std::int64_t i = 0; i < n; ++i) {
    if (each != 0 && i / each == index) part.push_back(list[static_cast<std::size_t>(i)]);
  }
  return part;
}

/// The list cut into consecutive lists of the given lengths, each chunked, the parts joined.
Numbers chunk_each(const Numbers& list, const Numbers& lengths, std::int64_t index, std::int64_t count) {
  Numbers joined;
  auto at = list.begin();
  for (const std::int64_t length : lengths) {
    const Numbers part = chunk(Numbers(at, at + length), index, count);
    joined.insert(joined.end(), part.begin(), part.end());
    at += length;
  }
  return joined;
}

/// Coordinates along the axes of the rank, found by trying every position.
std::optional<Numbers> coordinates_in(const Mesh& mesh, Rank rank) {
  Numbers coordinates(mesh.axes.size(), 0);
  while (true) {
    std::int64_t at = mesh.first;
    for (std::size_t a = 0; a < coordinates.size(); ++a) at += coordinates[a] * mesh.axes[a].stride;
    if (at == rank.value) return coordinates;
    std::size_t a = coordinates.size();
    while (a > 0 && ++coordinates[a - 1] == mesh.axes[a - 1].size) coordinates[--a] = 0;
    if (a == 0) return std::nullopt;
  }
}

bool cuts(const Placement& placement, std::size_t dim) {
  if (const auto* shard = std::get_if<Shard>(&placement)) return shard->dim == static_cast<int>(dim);
  if (const auto* strided = std::get_if<StridedShard>(&placement)) return strided->dim == static_cast<int>(dim);
  if (const auto* segments = std::get_if<Segments>(&placement)) return segments->dim == static_cast<int>(dim);
  return false;
}

/// True for a StridedShard whose parts are made by Shards of later axes: it then cuts what they leave, after them.
bool waits(const MeshLayout& layout, std::size_t axis, std::size_t dim) {
  const auto* strided = std::get_if<StridedShard>(&layout.placements[axis]);
  if (!strided) return false;
  std::int64_t parts = 1;
  for (std::size_t a = axis + 1; a < layout.placements.size(); ++a) {
    if (std::holds_alternative<Shard>(layout.placements[a]) && cuts(layout.placements[a], dim)) parts *= layout.mesh.axes[a].size;
  }
  return parts > 1 && parts == strided->split;
}

Numbers cut_once(const Numbers& list, const Placement& placement, bool waited, std::int64_t index, std::int64_t count) {
  if (const auto* segments = std::get_if<Segments>(&placement)) {
    return chunk_each(list, {segments->lengths.begin(), segments->lengths.end()}, index, count);
  }
  const auto* strided = std::get_if<StridedShard>(&placement);
  if (!strided || waited) return chunk(list, index, count);
  Numbers lengths;
  for (std::int64_t part = 0; part < strided->split; ++part) lengths.push_back(std::ssize(chunk(list, part, strided->split)));
  return chunk_each(list, lengths, index, count);
}

Numbers product(const std::vector<Numbers>& dims, const Dims& shape) {
  Numbers elements{0};
  for (std::size_t d = 0; d < dims.size(); ++d) {
    Numbers next;
    for (const std::int64_t before : elements) {
      for (const std::int64_t coordinate : dims[d]) next.push_back(before * shape[d] + coordinate);
    }
    elements = std::move(next);
  }
  return elements;
}

Numbers held_by_mesh(const MeshLayout& layout, const Dims& shape, Rank rank) {
  const auto coordinates = coordinates_in(layout.mesh, rank);
  if (!coordinates) return {};
  std::vector<Numbers> dims;
  for (std::size_t d = 0; d < shape.size(); ++d) dims.push_back(kept_along(layout, shape, d, *coordinates));
  const Numbers uncut = product(dims, shape);
  if (!layout.flat) return uncut;
  std::int64_t run = 0;
  for (const int axis : layout.flat->axes) {
    run = run * layout.mesh.axes[static_cast<std::size_t>(axis)].size + (*coordinates)[static_cast<std::size_t>(axis)];
  }
  // Where a cut at `on_line` falls: at the last multiple of the unit that the line has not passed, or at the end.
  const auto cut_at = [&](std::int64_t on_line, std::int64_t unit) {
    std::int64_t at = 0;
    for (std::int64_t i = 0; i <= std::ssize(uncut); ++i) {
      const bool allowed = i % unit == 0 || i == std::ssize(uncut);
      if (allowed && layout.flat->offset + i <= on_line) at = i;
    }
    return at;
  };
  const std::int64_t begin = cut_at(run * layout.flat->run, layout.flat->unit);
  const std::int64_t end = cut_at((run + 1) * layout.flat->run, layout.flat->unit);
  std::int64_t pieces = 1;
  std::int64_t piece = 0;
  for (const int axis : layout.flat->inner_axes) {
    const auto a = static_cast<std::size_t>(axis);
    pieces *= layout.mesh.axes[a].size;
    piece = piece * layout.mesh.axes[a].size + (*coordinates)[a];
  }
  const std::int64_t a_piece = layout.flat->run / pieces + (layout.flat->run % pieces != 0 ? 1 : 0);
  const auto inner_cut = [&](std::int64_t k) {
    if (k == 0) return begin;
    if (k == pieces) return end;
    const std::int64_t on_line = run * layout.flat->run + std::min(k * a_piece, layout.flat->run);
    return std::min(end, std::max(begin, cut_at(on_line, layout.flat->inner_unit)));
  };
  return {uncut.begin() + inner_cut(piece), uncut.begin() + inner_cut(piece + 1)};
}

}  // namespace

std::vector<std::int64_t> held_elements(const Layout& layout, const Dims& shape, Rank rank) {
  if (const auto* mesh = std::get_if<MeshLayout>(&layout)) return held_by_mesh(*mesh, shape, rank);
  Numbers elements;
  if (const auto* flat = std::get_if<FlatLayout>(&layout)) {
    for (const FlatLayout::Range& range : flat->ranges) {
      for (std::int64_t i = 0; range.rank == rank && i < range.length; ++i) elements.push_back(range.begin + i);
    }
    return elements;
  }
  std::vector<Box> boxes;
  if (const auto* listed = std::get_if<EnumerableLayout>(&layout)) {
    for (const EnumerableLayout::Part& part : listed->parts) {
      if (part.rank == rank) boxes.push_back(part.box);
    }
  } else {
    boxes = boxes_of(layout, shape, rank);
  }
  for (const Box& box : boxes) {
    std::vector<Numbers> dims;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      dims.emplace_back(static_cast<std::size_t>(box.size[d]));
      std::iota(dims[d].begin(), dims[d].end(), box.offset[d]);
    }
    const Numbers in_box = product(dims, shape);
    elements.insert(elements.end(), in_box.begin(), in_box.end());
  }
  return elements;
}

Numbers kept_along(const MeshLayout& layout, const Dims& shape, std::size_t dim, const Numbers& coordinates) {
  Numbers kept(static_cast<std::size_t>(shape[dim]));
  std::iota(kept.begin(), kept.end(), 0);
  for (const bool waiting : {false, true}) {
    for (std::size_t a = 0; a < layout.placements.size(); ++a) {
      if (!cuts(layout.placements[a], dim) || waits(layout, a, dim) != waiting) continue;
      kept = cut_once(kept, layout.placements[a], waiting, coordinates[a], layout.mesh.axes[a].size);
    }
  }
  return kept;
}

bool replicates(const MeshLayout& layout) {
  for (std::size_t a = 0; a < layout.placements.size(); ++a) {
    const auto names = [a](const auto& axes) { return std::ranges::find(axes, static_cast<int>(a)) != axes.end(); };
    const bool flat = layout.flat && (names(layout.flat->axes) || names(layout.flat->inner_axes));
    if (std::holds_alternative<Replicate>(layout.placements[a]) && layout.mesh.axes[a].size > 1 && !flat) return true;
  }
  return false;
}

}  // namespace holdfast::model
