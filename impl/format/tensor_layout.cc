#include "impl/format/tensor_layout.h"

#include <algorithm>
#include <limits>

#include "impl/core/check.h"
#include "impl/core/layout.h"
#include "impl/format/chunk_list.h"
#include "impl/format/file_names.h"
#include "impl/format/manifest.h"
#include "impl/format/manifest_layout.h"

namespace holdfast::format {
namespace {

namespace at = manifest_layout;

void put(Encoder& out, std::int64_t value) { out.varint(static_cast<std::uint64_t>(value)); }

Result<std::int64_t> take(Decoder& in, std::int64_t most) {
  const std::uint64_t value = TRY(in.varint());
  if (value > static_cast<std::uint64_t>(most)) return fail(ErrorCode::corrupt, "{} where at most {} can be", value, most);
  return static_cast<std::int64_t>(value);
}

constexpr std::int64_t elements_max = std::int64_t{1} << 62;

Bytes shape_entry(const Dims& shape) {
  CHECK(shape.size() <= dims_max, "a tensor of {} dimensions", shape.size());
  Encoder out;
  out.varint(shape.size());
  for (const std::int64_t size : shape) put(out, size);
  return out.take();
}

Result<Dims> take_shape(Decoder& in) {
  Dims shape(static_cast<std::size_t>(TRY(take(in, dims_max))));
  for (std::int64_t& size : shape) size = TRY(take(in, elements_max));
  if (!checked_volume({shape.data(), shape.size()})) {
    return fail(ErrorCode::corrupt, "shape {} overflows", to_string({shape.data(), shape.size()}));
  }
  return shape;
}

using Axes = decltype(Mesh::axes);

Bytes mesh_entry(const Axes& axes) {
  CHECK(axes.size() <= dims_max, "a mesh of {} axes", axes.size());
  Encoder out;
  out.varint(axes.size());
  for (const MeshAxis& axis : axes) {
    put(out, axis.size);
    put(out, axis.stride);
  }
  return out.take();
}

Result<Axes> take_mesh(Decoder& in) {
  Axes axes(static_cast<std::size_t>(TRY(take(in, dims_max))));
  for (MeshAxis& axis : axes) {
    axis.size = TRY(take(in, std::numeric_limits<std::int32_t>::max()));
    axis.stride = TRY(take(in, std::numeric_limits<std::int32_t>::max()));
  }
  return axes;
}

using AxisNumbers = decltype(FlatCut::axes);

void put_axes(Encoder& out, const AxisNumbers& axes) {
  out.varint(axes.size());
  for (const int axis : axes) put(out, axis);
}

Result<AxisNumbers> take_axes(Decoder& in) {
  AxisNumbers axes(static_cast<std::size_t>(TRY(take(in, dims_max))));
  for (int& axis : axes) axis = static_cast<int>(TRY(take(in, dims_max)));
  return axes;
}

/// Everything of a layout over a mesh but the mesh and where a flat cut starts: what many tensors share.
Bytes cut_entry(const MeshLayout& layout) {
  Encoder out;
  out.varint(layout.placements.size());
  for (const Placement& placement : layout.placements) {
    if (const auto* shard = std::get_if<Shard>(&placement)) {
      out.u8(at::placement_shard);
      put(out, shard->dim);
    } else if (const auto* strided = std::get_if<StridedShard>(&placement)) {
      out.u8(at::placement_strided);
      put(out, strided->dim);
      put(out, strided->split);
    } else if (const auto* segments = std::get_if<Segments>(&placement)) {
      out.u8(at::placement_segments);
      put(out, segments->dim);
      out.varint(segments->lengths.size());
      for (const std::int64_t size : segments->lengths) put(out, size);
    } else {
      out.u8(at::placement_replicate);
    }
  }
  out.u8(layout.flat ? 1 : 0);
  if (layout.flat) {
    put_axes(out, layout.flat->axes);
    put(out, layout.flat->run);
    put(out, layout.flat->unit);
    put_axes(out, layout.flat->inner_axes);
    put(out, layout.flat->inner_unit);
  }
  return out.take();
}

Result<Placement> take_placement(Decoder& in) {
  const std::uint8_t kind = TRY(in.u8());
  if (kind == at::placement_replicate) return Replicate{};
  if (kind > at::placement_segments) return fail(ErrorCode::corrupt, "placement kind {}", kind);
  const int dim = static_cast<int>(TRY(take(in, dims_max)));
  if (kind == at::placement_shard) return Shard{dim};
  if (kind == at::placement_strided) return StridedShard{dim, TRY(take(in, segments_a_rank_max))};
  Segments segments{dim, {}};
  const std::int64_t count = TRY(take(in, segments_a_rank_max));
  for (std::int64_t i = 0; i < count; ++i) segments.lengths.push_back(TRY(take(in, elements_max)));
  return segments;
}

/// Fills in placements and flat cut.
Status take_cut(Decoder& in, MeshLayout& layout) {
  std::int64_t boxes = 1;
  for (std::int64_t left = TRY(take(in, dims_max)); left > 0; --left) {
    layout.placements.push_back(TRY(take_placement(in)));
    const Placement& placement = layout.placements.back();
    if (const auto* strided = std::get_if<StridedShard>(&placement)) boxes *= strided->split;
    if (const auto* segments = std::get_if<Segments>(&placement)) boxes *= std::max<std::int64_t>(1, std::ssize(segments->lengths));
    // Before anything is multiplied further or looped over.
    if (boxes > segments_a_rank_max) return fail(ErrorCode::corrupt, "placements that make over {} boxes a rank", segments_a_rank_max);
  }
  const std::uint8_t flat = TRY(in.u8());
  if (flat > 1) return fail(ErrorCode::corrupt, "flat cut kind {}", flat);
  if (flat == 0) return {};
  layout.flat.emplace();
  layout.flat->axes = TRY(take_axes(in));
  layout.flat->run = TRY(take(in, elements_max));
  layout.flat->unit = TRY(take(in, elements_max));
  layout.flat->inner_axes = TRY(take_axes(in));
  layout.flat->inner_unit = TRY(take(in, elements_max));
  return {};
}

Result<ChunkSet::Grid> take_grid(Decoder& in, const Dims& shape, std::uint64_t segments) {
  const std::int64_t dim = TRY(take(in, dims_max));
  const std::uint64_t count = TRY(in.varint());
  // Every chunk lies in a segment of its own.
  if (dim < std::ssize(shape) && count >= 1 && count <= segments && !whole(shape).empty()) {
    const auto pieces = static_cast<std::int64_t>(count);
    const std::int64_t extent = shape[static_cast<std::size_t>(dim)];
    if (pieces <= extent && chunk_split(extent, pieces).size(pieces - 1) > 0) {
      return ChunkSet::Grid{shape, static_cast<std::uint32_t>(dim), static_cast<std::uint32_t>(count)};
    }
  }
  return fail(ErrorCode::corrupt, "a grid of {} pieces along dimension {} of shape {} over {} segments", count, dim,
              to_string({shape.data(), shape.size()}), segments);
}

/// A layout as far as its places; `in` then stands before them.
struct LayoutEntry {
  std::uint64_t shape = 0, mesh = 0, cut = 0;  // numbers
  Dims dims;
  std::uint64_t listed = 0;
  std::variant<std::monostate, ChunkSet::Grid, MeshLayout> rule;
};

ByteView entry(const StoredLayouts& from, std::uint64_t number) {
  const std::uint64_t count = from.starts.size() / sizeof(std::uint32_t);
  const auto start = [&](std::uint64_t n) -> std::uint64_t {
    return n < count ? at::load<std::uint32_t>(from.starts, n * sizeof(std::uint32_t)) : from.entries.size();
  };
  return from.entries.subspan(start(number), start(number + 1) - start(number));
}
Decoder shape_at(const StoredLayouts& from, std::uint64_t number) { return {entry(from, number), "shape"}; }
Decoder mesh_at(const StoredLayouts& from, std::uint64_t number) { return {entry(from, from.shapes + number), "mesh"}; }
Decoder cut_at(const StoredLayouts& from, std::uint64_t number) { return {entry(from, from.shapes + from.meshes + number), "cut"}; }
Decoder layout_at(const StoredLayouts& from, std::uint64_t number) {
  return {entry(from, from.shapes + from.meshes + from.cuts + number), "layout"};
}

Result<std::uint64_t> take_number(Decoder& in, std::uint64_t count, std::string_view what) {
  const std::uint64_t number = TRY(in.varint());
  if (number >= count) return fail(ErrorCode::corrupt, "{} {} of {}", what, number, count);
  return number;
}

Result<MeshLayout> take_rule(Decoder& in, const StoredLayouts& from, LayoutEntry& layout) {
  MeshLayout rule;
  layout.mesh = TRY(take_number(in, from.meshes, "mesh"));
  rule.mesh.first = TRY(take(in, std::numeric_limits<std::int32_t>::max()));
  layout.cut = TRY(take_number(in, from.cuts, "cut"));
  Decoder mesh = mesh_at(from, layout.mesh);
  rule.mesh.axes = TRY(take_mesh(mesh));
  Decoder cut = cut_at(from, layout.cut);
  TRY(take_cut(cut, rule));
  if (rule.flat) rule.flat->offset = TRY(take(in, elements_max));
  return rule;
}

Result<LayoutEntry> take_layout(Decoder& in, const StoredLayouts& from) {
  LayoutEntry layout;
  layout.shape = TRY(take_number(in, from.shapes, "shape"));
  Decoder shape = shape_at(from, layout.shape);
  layout.dims = TRY(take_shape(shape));
  switch (const std::uint8_t kind = TRY(in.u8())) {
    case at::layout_list: layout.listed = TRY(take_number(in, from.segments + 1, "list: chunk")); return layout;
    case at::layout_grid: layout.rule = TRY(take_grid(in, layout.dims, from.segments)); return layout;
    case at::layout_mesh: layout.rule = TRY(take_rule(in, from, layout)); return layout;
    default: return fail(ErrorCode::corrupt, "layout kind {}", kind);
  }
}

Status check_rule(const MeshLayout& rule, const Dims& shape, std::int32_t world_size) {
  if (const Status fits = holdfast::check(rule, shape, world_size); !fits) return fail(ErrorCode::corrupt, "{}", fits.error().message);
  if (const auto axes = replicated_axes(rule); !axes.empty()) {
    return fail(ErrorCode::corrupt, "{}: the ranks along axis {} hold the same", to_string(rule), axes.front());
  }
  if (const std::int64_t boxes = boxes_max(rule, shape); boxes > segments_a_rank_max) {
    return fail(ErrorCode::corrupt, "{}: up to {} boxes a rank, at most {} can be", to_string(rule), boxes, segments_a_rank_max);
  }
  return {};
}

/// Numbers are given out in the order of first use.
Status check_use(std::uint64_t number, std::uint64_t& used, std::string_view what) {
  if (number > used) return fail(ErrorCode::corrupt, "{} {} before {}", what, number, used);
  if (number == used) ++used;
  return {};
}

struct Used {
  std::uint64_t shapes = 0, meshes = 0, cuts = 0;
};

Status check_layout(const StoredLayouts& from, std::uint64_t number, Used& used) {
  Decoder in = layout_at(from, number);
  const LayoutEntry layout = TRY(take_layout(in, from));
  TRY(check_use(layout.shape, used.shapes, "shape"));
  if (const auto* rule = std::get_if<MeshLayout>(&layout.rule)) {
    TRY(check_use(layout.mesh, used.meshes, "mesh"));
    TRY(check_use(layout.cut, used.cuts, "cut"));
    TRY(check_rule(*rule, layout.dims, from.world_size));
  } else if (const auto* grid = std::get_if<ChunkSet::Grid>(&layout.rule)) {
    TRY(take_segments(in, grid->count, from.segments, [](std::int64_t, std::int64_t, std::uint64_t) {}));
  } else {
    TRY(take_chunk_list(in, layout.dims, layout.listed, from.segments, [](std::uint32_t, const Box&) {}));
  }
  return in.finish();
}

template <typename Take>
Status check_entries(const StoredLayouts& from, std::uint64_t count, Decoder (*at)(const StoredLayouts&, std::uint64_t),
                     std::string_view what, Take&& take) {
  for (std::uint64_t i = 0; i < count; ++i) {
    Decoder in = at(from, i);
    const Status sound = [&]() -> Status {
      TRY(take(in));
      return in.finish();
    }();
    if (!sound) return fail(within(sound.error(), "{} {}", what, i));
  }
  return {};
}

}  // namespace

std::uint32_t LayoutsWriter::Table::add(Bytes entry) {
  const auto [found, added] = numbers_.try_emplace(std::move(entry), count());
  if (added) {
    starts_.push_back(at::size32(entries_.size()));
    entries_.raw(found->first);
  }
  return found->second;
}

std::uint32_t LayoutsWriter::add(const Dims& shape, const ChunkSet& chunks, std::span<const std::uint32_t> segments) {
  Encoder out;
  out.varint(shapes_.add(shape_entry(shape)));
  if (const ChunkSet::OfMesh* of_mesh = chunks.mesh()) {
    CHECK(of_mesh->shape == shape && segments.empty(), "a mesh of another shape, or with segments");
    out.u8(at::layout_mesh);
    out.varint(meshes_.add(mesh_entry(of_mesh->layout.mesh.axes)));
    put(out, of_mesh->layout.mesh.first);
    out.varint(cuts_.add(cut_entry(of_mesh->layout)));
    if (of_mesh->layout.flat) put(out, of_mesh->layout.flat->offset);
    return layouts_.add(out.take());
  }
  CHECK(segments.size() == chunks.size(), "{} segments for {} chunks", segments.size(), chunks.size());
  if (const ChunkSet::Grid* grid = chunks.grid()) {
    CHECK(grid->shape == shape, "a grid of another shape");
    out.u8(at::layout_grid);
    out.varint(grid->dim);
    out.varint(grid->count);
    put_segments(out, segments);
  } else {
    out.u8(at::layout_list);
    out.varint(segments.size());
    put_chunk_list(out, shape, chunks, segments);
  }
  return layouts_.add(out.take());
}

Status StoredLayouts::check() const {
  const std::uint64_t count = starts.size() / sizeof(std::uint32_t);
  if (count == 0 && !entries.empty()) return fail(ErrorCode::corrupt, "{} bytes of layouts, and none", entries.size());
  std::uint64_t before = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t start = at::load<std::uint32_t>(starts, i * sizeof(std::uint32_t));
    if ((i == 0 ? start != 0 : start <= before) || start >= entries.size()) {
      return fail(ErrorCode::corrupt, "entry {} of the layouts starts at {} of {}, the one before at {}", i, start, entries.size(), before);
    }
    before = start;
  }
  TRY(check_entries(*this, shapes, shape_at, "shape", [](Decoder& in) { return take_shape(in); }));
  TRY(check_entries(*this, meshes, mesh_at, "mesh", [](Decoder& in) { return take_mesh(in); }));
  TRY(check_entries(*this, cuts, cut_at, "cut", [](Decoder& in) {
    MeshLayout layout;
    return take_cut(in, layout);
  }));
  Used used;
  for (std::uint64_t i = 0; i < layouts; ++i) {
    if (const Status sound = check_layout(*this, i, used); !sound) return fail(within(sound.error(), "layout {}", i));
  }
  if (used.shapes != shapes || used.meshes != meshes || used.cuts != cuts) {
    return fail(ErrorCode::corrupt, "{} of {} shapes, {} of {} meshes, {} of {} cuts are used", used.shapes, shapes, used.meshes, meshes,
                used.cuts, cuts);
  }
  return {};
}

PlacedChunks StoredLayouts::layout(std::uint32_t number) const {
  Decoder in = layout_at(*this, number);
  auto layout = take_layout(in, *this);
  CHECK(layout.has_value(), "a layout that was checked");
  PlacedChunks placed{std::move(layout->dims), {}, {}};
  Status taken;
  if (auto* rule = std::get_if<MeshLayout>(&layout->rule)) {
    placed.chunks = ChunkSet(std::move(*rule), placed.shape);
  } else if (auto* grid = std::get_if<ChunkSet::Grid>(&layout->rule)) {
    taken = take_segments(in, grid->count, segments, [&](std::int64_t first, std::int64_t step, std::uint64_t length) {
      for (std::uint64_t i = 0; i < length; ++i) {
        placed.segments.push_back(static_cast<std::uint32_t>(first + step * static_cast<std::int64_t>(i)));
      }
    });
    placed.chunks = ChunkSet(std::move(*grid));
  } else {
    std::vector<std::pair<Box, std::uint32_t>> list;
    list.reserve(layout->listed);
    taken = take_chunk_list(in, placed.shape, layout->listed, segments,
                            [&](std::uint32_t segment, const Box& box) { list.emplace_back(box, segment); });
    std::ranges::sort(list);
    std::vector<Box> boxes;
    boxes.reserve(list.size());
    placed.segments.reserve(list.size());
    for (auto& [box, segment] : list) {
      boxes.push_back(std::move(box));
      placed.segments.push_back(segment);
    }
    placed.chunks = ChunkSet(std::move(boxes), placed.shape);
  }
  CHECK(taken.has_value(), "a layout that was checked");
  return placed;
}

}  // namespace holdfast::format
