#include "impl/core/mesh_layout.h"

#include <algorithm>
#include <numeric>

#include "impl/core/check.h"
#include "impl/core/layout.h"
#include "impl/core/mesh_parts.h"
#include "impl/core/mutate.h"

namespace holdfast {
namespace {

struct Interval {
  std::int64_t begin = 0;
  std::int64_t size = 0;
};
/// Part of one dimension: what a rank's memory joins along it, in order.
using Intervals = boost::container::small_vector<Interval, 2>;

std::int64_t length(const Intervals& intervals) {
  std::int64_t sum = 0;
  for (const Interval& interval : intervals) sum += interval.size;
  return sum;
}

/// [begin, begin + size) of the joined intervals.
void append_sub_range(const Intervals& joined, std::int64_t begin, std::int64_t size, Intervals& out) {
  for (const Interval& interval : joined) {
    const std::int64_t from = std::clamp<std::int64_t>(begin, 0, interval.size);
    const std::int64_t to = std::clamp<std::int64_t>(begin + size, 0, interval.size);
    if (to > from) out.push_back({interval.begin + from, to - from});
    begin -= interval.size;
  }
}

/// Part `index` of `count` of the sub-range [begin, begin + size) of the joined intervals, as torch.chunk cuts it.
void append_chunk(const Intervals& joined, Interval part, std::int64_t index, std::int64_t count, Intervals& out) {
  const ChunkSplit split = chunk_split(part.size, count);
  append_sub_range(joined, part.begin + split.begin(index), split.size(index), out);
}

/// One cut of one dimension by one axis.
struct Cut {
  int axis = 0;
  const Placement* placement = nullptr;
  bool as_shard = false;  ///< a StridedShard whose parts later axes have made
};

/// The cuts of dimension `dim` in the order in which they apply: a StridedShard waits for later Shards that make exactly its parts.
std::vector<Cut> cuts_of(const MeshLayout& layout, int dim) {
  std::vector<Cut> cuts;
  std::vector<Cut> waiting;
  for (std::size_t a = 0; a < layout.placements.size(); ++a) {
    const Placement& placement = layout.placements[a];
    if (dim_of(placement) != dim) continue;
    const Cut cut{static_cast<int>(a), &placement, false};
    if (const auto* strided = std::get_if<StridedShard>(&placement)) {
      std::int64_t parts = 1;
      for (std::size_t later = a + 1; later < layout.placements.size(); ++later) {
        const auto* shard = std::get_if<Shard>(&layout.placements[later]);
        if (shard && shard->dim == dim) parts *= layout.mesh.axes[later].size;
      }
      if (parts == strided->split && parts > 1) {
        waiting.push_back({cut.axis, cut.placement, true});
        continue;
      }
    }
    cuts.push_back(cut);
  }
  cuts.insert(cuts.end(), waiting.begin(), waiting.end());
  return cuts;
}

Intervals apply(const Cut& cut, const Intervals& joined, std::int64_t index, std::int64_t count) {
  Intervals out;
  if (const auto* segments = std::get_if<Segments>(cut.placement)) {
    std::int64_t begin = 0;
    for (const std::int64_t size : segments->lengths) {
      append_chunk(joined, {begin, size}, index, count, out);
      begin += size;
    }
    return out;
  }
  const auto* strided = std::get_if<StridedShard>(cut.placement);
  const std::int64_t parts = strided && !cut.as_shard ? strided->split : 1;
  const std::int64_t whole_size = length(joined);
  const ChunkSplit split = chunk_split(whole_size, parts);
  for (std::int64_t part = 0; part < parts; ++part) append_chunk(joined, {split.begin(part), split.size(part)}, index, count, out);
  return out;
}

using Coordinates = boost::container::small_vector<std::int64_t, 4>;

Coordinates coordinates_of(const Mesh& mesh, std::int64_t position) {
  Coordinates coordinates(mesh.axes.size(), 0);
  for (std::size_t a = mesh.axes.size(); a-- > 0;) {
    coordinates[a] = position % mesh.axes[a].size;
    position /= mesh.axes[a].size;
  }
  return coordinates;
}

std::int64_t position_of(const Mesh& mesh, const Coordinates& coordinates) {
  std::int64_t position = 0;
  for (std::size_t a = 0; a < mesh.axes.size(); ++a) position = position * mesh.axes[a].size + coordinates[a];
  return position;
}

/// What the placements leave to a rank, a list of intervals a dimension.
std::vector<Intervals> intervals_of(const MeshLayout& layout, const Dims& shape, const Coordinates& coordinates) {
  std::vector<Intervals> dims;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    Intervals intervals;
    intervals.push_back({0, shape[d]});
    for (const Cut& cut : cuts_of(layout, static_cast<int>(d))) {
      const auto axis = static_cast<std::size_t>(cut.axis);
      intervals = apply(cut, intervals, coordinates[axis], layout.mesh.axes[axis].size);
    }
    dims.push_back(std::move(intervals));
  }
  return dims;
}

/// The product of the intervals, row-major; memory is the joined tensor.
std::vector<LocalBox> boxes_of(const std::vector<Intervals>& dims) {
  Dims strides(dims.size(), 1);
  std::int64_t stride = 1;
  for (std::size_t d = dims.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= length(dims[d]);
  }
  std::vector<LocalBox> boxes;
  if (stride == 0) return boxes;
  std::vector<std::size_t> at(dims.size(), 0);
  while (true) {
    LocalBox local{{Dims(dims.size(), 0), Dims(dims.size(), 0)}, 0, strides};
    for (std::size_t d = 0; d < dims.size(); ++d) {
      local.box.offset[d] = dims[d][at[d]].begin;
      local.box.size[d] = dims[d][at[d]].size;
      for (std::size_t i = 0; i < at[d]; ++i) local.start += dims[d][i].size * strides[d];
    }
    boxes.push_back(std::move(local));
    std::size_t d = dims.size();
    while (d > 0 && ++at[d - 1] == dims[d - 1].size()) at[--d] = 0;
    if (d == 0) return boxes;
  }
}

/// The number of a rank among those along `axes`, the first outermost.
std::int64_t number_along(const Mesh& mesh, const Axes& axes, const Coordinates& coordinates) {
  std::int64_t number = 0;
  for (const int axis : axes)
    number = number * mesh.axes[static_cast<std::size_t>(axis)].size + coordinates[static_cast<std::size_t>(axis)];
  return number;
}

void set_number_along(const Mesh& mesh, const Axes& axes, std::int64_t number, Coordinates& coordinates) {
  for (std::size_t i = axes.size(); i-- > 0;) {
    const auto axis = static_cast<std::size_t>(axes[i]);
    coordinates[axis] = number % mesh.axes[axis].size;
    number /= mesh.axes[axis].size;
  }
}

/// The runs of a flat cut through a part of `elements`: where each begins, and whose an element is. Since cuts are moved down, the units of a run are
/// those whose last element lies in it.
class FlatRuns {
 public:
  FlatRuns(const MeshLayout& layout, std::int64_t elements)
      : flat_(*layout.flat), elements_(elements), runs_(ranks_along(layout.mesh, flat_.axes)),
        inner_(ranks_along(layout.mesh, flat_.inner_axes)), inner_run_((flat_.run - 1) / inner_ + 1) {}

  std::int64_t begin(std::int64_t run) const { return moved_down(run * flat_.run, flat_.unit); }
  std::int64_t begin(std::int64_t run, std::int64_t inner) const {
    if (inner == 0) return begin(run);
    if (inner == inner_) return begin(run + 1);
    const std::int64_t at = moved_down(run * flat_.run + std::min(inner * inner_run_, flat_.run), flat_.inner_unit);
    return std::clamp(at, begin(run), begin(run + 1));
  }

  std::int64_t run_of(std::int64_t element) const { return std::min(runs_ - 1, last_of_unit(element, flat_.unit) / flat_.run); }
  std::int64_t inner_of(std::int64_t element, std::int64_t run) const {
    const std::int64_t in_run = last_of_unit(element, flat_.inner_unit) - run * flat_.run;
    return std::clamp<std::int64_t>(in_run / inner_run_, 0, inner_ - 1);
  }

 private:
  std::int64_t moved_down(std::int64_t on_line, std::int64_t unit) const {
    const std::int64_t at = std::clamp<std::int64_t>(on_line - flat_.offset, 0, elements_);
    const std::int64_t whole_units = MUTATE("layout.flat_ignores_unit", at / unit * unit, at);
    return at == elements_ ? at : whole_units;
  }
  /// On the line.
  std::int64_t last_of_unit(std::int64_t element, std::int64_t unit) const {
    const std::int64_t first = element / unit * unit;
    return flat_.offset + (unit < elements_ - first ? first + unit : elements_) - 1;
  }

  const FlatCut& flat_;
  std::int64_t elements_;
  std::int64_t runs_;
  std::int64_t inner_;  ///< parts of a run
  std::int64_t inner_run_;
};

std::int64_t elements_of(std::span<const LocalBox> parts) {
  std::int64_t elements = 0;
  for (const LocalBox& part : parts) elements += part.box.volume();
  return elements;
}

std::vector<LocalBox> cut_flat(const MeshLayout& layout, const std::vector<LocalBox>& parts, const Coordinates& coordinates) {
  const FlatRuns runs(layout, elements_of(parts));
  const std::int64_t run = number_along(layout.mesh, layout.flat->axes, coordinates);
  const std::int64_t inner = number_along(layout.mesh, layout.flat->inner_axes, coordinates);
  const std::int64_t begin = runs.begin(run, inner);
  const std::int64_t end = runs.begin(run, inner + 1);
  std::vector<LocalBox> out;
  std::int64_t before = 0;
  for (const LocalBox& part : parts) {
    const std::int64_t volume = part.box.volume();
    const std::int64_t from = std::clamp<std::int64_t>(begin - before, 0, volume);
    const std::int64_t to = std::clamp<std::int64_t>(end - before, 0, volume);
    if (to > from) append_flat_range(part.box, from, to, before + from - begin, out);
    before += volume;
  }
  return out;
}

/// Coordinates along the axes that cut one dimension, and what they leave of it.
struct Choice {
  Coordinates coordinates;  ///< one a cut
  Intervals intervals;
};

bool meets(const Intervals& intervals, std::int64_t begin, std::int64_t end) {
  return std::ranges::any_of(intervals, [&](const Interval& i) { return i.begin < end && i.begin + i.size > begin; });
}

/// Every choice along the cuts of a dimension that keeps something of [begin, end).
std::vector<Choice> choices_near(const MeshLayout& layout, const std::vector<Cut>& cuts, std::int64_t extent, std::int64_t begin,
                                 std::int64_t end) {
  Choice all;
  all.intervals.push_back({0, extent});
  std::vector<Choice> choices{all};
  for (const Cut& cut : cuts) {
    const std::int64_t count = layout.mesh.axes[static_cast<std::size_t>(cut.axis)].size;
    std::vector<Choice> next;
    for (const Choice& choice : choices) {
      for (std::int64_t index = 0; index < count; ++index) {
        Intervals intervals = apply(cut, choice.intervals, index, count);
        if (!meets(intervals, begin, end)) continue;
        next.push_back({choice.coordinates, std::move(intervals)});
        next.back().coordinates.push_back(index);
      }
    }
    choices = std::move(next);
  }
  return choices;
}

/// Appends the positions, among those that differ from `coordinates` along the axes of the flat cut only, that hold an element of `box`, or of what lies
/// between its first and last element.
void append_runs_near(const MeshLayout& layout, const std::vector<LocalBox>& parts, const Box& box, Coordinates coordinates,
                      std::vector<std::int64_t>& positions) {
  std::int64_t low = -1;
  std::int64_t high = -1;
  std::int64_t before = 0;
  for (const LocalBox& part : parts) {
    if (const auto common = intersection(part.box, box)) {
      std::int64_t first = 0;
      std::int64_t last = 0;
      for (std::size_t d = 0; d < common->size.size(); ++d) {
        const std::int64_t from = common->offset[d] - part.box.offset[d];
        first = first * part.box.size[d] + from;
        last = last * part.box.size[d] + from + common->size[d] - 1;
      }
      if (low < 0) low = before + first;
      high = before + last;
    }
    before += part.box.volume();
  }
  if (low < 0) return;
  const FlatRuns runs(layout, before);
  const std::int64_t last_run = runs.run_of(high);
  for (std::int64_t run = runs.run_of(low); run <= last_run; ++run) {
    set_number_along(layout.mesh, layout.flat->axes, run, coordinates);
    const std::int64_t last_inner = runs.inner_of(std::min(high, std::max<std::int64_t>(0, runs.begin(run + 1) - 1)), run);
    for (std::int64_t inner = runs.inner_of(std::max(low, runs.begin(run)), run); inner <= last_inner; ++inner) {
      set_number_along(layout.mesh, layout.flat->inner_axes, inner, coordinates);
      positions.push_back(position_of(layout.mesh, coordinates));
    }
  }
}

}  // namespace

void append_flat_range(const Box& box, std::int64_t begin, std::int64_t end, std::int64_t start, std::vector<LocalBox>& out) {
  const std::size_t dims = box.size.size();
  Dims strides(dims, 1);
  for (std::size_t d = dims; d-- > 1;) strides[d - 1] = strides[d] * box.size[d];
  for (std::int64_t at = begin; at < end;) {
    // The outermost dimension along which a whole number of slices starts here and fits.
    std::size_t d = 0;
    while (d + 1 < dims && (at % strides[d] != 0 || strides[d] > end - at)) ++d;
    std::int64_t slices = dims == 0 ? 1 : (end - at) / strides[d];
    LocalBox local{{box.offset, Dims(dims, 1)}, start + at - begin, strides};
    std::int64_t rest = at;
    for (std::size_t i = 0; i <= d && i < dims; ++i) {
      const std::int64_t index = rest / strides[i];
      rest -= index * strides[i];
      local.box.offset[i] += index;
      if (i == d) slices = std::min(slices, box.size[i] - index);
    }
    if (dims > 0) local.box.size[d] = slices;
    for (std::size_t i = d + 1; i < dims; ++i) local.box.size[i] = box.size[i];
    at += dims == 0 ? 1 : slices * strides[d];
    out.push_back(std::move(local));
  }
}

std::int64_t Mesh::size() const {
  std::int64_t product = 1;
  for (const MeshAxis& axis : axes) product *= axis.size;
  return product;
}

Rank Mesh::rank(std::int64_t position) const {
  std::int64_t rank = first;
  for (std::size_t a = axes.size(); a-- > 0;) {
    rank += position % axes[a].size * axes[a].stride;
    position /= axes[a].size;
  }
  return Rank{static_cast<std::int32_t>(rank)};
}

std::optional<std::int64_t> Mesh::position(Rank rank) const {
  std::int64_t rest = rank.value - first;
  if (rest < 0) return std::nullopt;
  boost::container::small_vector<std::size_t, 4> order(axes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return axes[a].stride > axes[b].stride; });
  Coordinates coordinates(axes.size(), 0);
  for (const std::size_t a : order) {
    if (axes[a].size == 1) continue;
    coordinates[a] = std::min(rest / axes[a].stride, axes[a].size - 1);
    rest -= coordinates[a] * axes[a].stride;
  }
  if (rest != 0) return std::nullopt;
  return position_of(*this, coordinates);
}

Mesh packed_mesh(std::span<const std::int64_t> sizes, std::int64_t first) {
  Mesh mesh{first, {}};
  std::int64_t stride = 1;
  for (std::size_t a = sizes.size(); a-- > 0;) {
    mesh.axes.insert(mesh.axes.begin(), {sizes[a], stride});
    stride *= sizes[a];
  }
  return mesh;
}

bool can_cut_flat(const MeshLayout& layout, const Dims& shape) {
  for (std::size_t d = 1; d < shape.size(); ++d) {
    for (const Cut& cut : cuts_of(layout, static_cast<int>(d))) {
      const auto* segments = std::get_if<Segments>(cut.placement);
      const auto* strided = std::get_if<StridedShard>(cut.placement);
      if ((segments && segments->lengths.size() > 1) || (strided && !cut.as_shard && strided->split > 1)) return false;
    }
  }
  return true;
}

std::vector<int> replicated_axes(const MeshLayout& layout) {
  std::vector<int> axes;
  for (std::size_t a = 0; a < layout.placements.size(); ++a) {
    if (layout.mesh.axes[a].size == 1 || !std::holds_alternative<Replicate>(layout.placements[a])) continue;
    const int axis = static_cast<int>(a);
    const auto names = [axis](const auto& some) { return std::ranges::find(some, axis) != some.end(); };
    if (!layout.flat || !(names(layout.flat->axes) || names(layout.flat->inner_axes))) axes.push_back(axis);
  }
  return axes;
}

std::vector<LocalBox> local_part(const MeshLayout& layout, const Dims& shape, std::int64_t position) {
  if (whole(shape).empty()) return {{whole(shape), 0, Dims(shape.size(), 1)}};
  const Coordinates coordinates = coordinates_of(layout.mesh, position);
  std::vector<LocalBox> boxes = boxes_of(intervals_of(layout, shape, coordinates));
  if (layout.flat) boxes = cut_flat(layout, boxes, coordinates);
  return boxes;
}

std::int64_t boxes_max(const MeshLayout& layout, const Dims& shape) {
  std::int64_t boxes = 1;
  for (const Placement& placement : layout.placements) {
    if (const auto* segments = std::get_if<Segments>(&placement)) boxes *= std::max<std::int64_t>(1, std::ssize(segments->lengths));
    if (const auto* strided = std::get_if<StridedShard>(&placement)) boxes *= strided->split;
  }
  if (layout.flat) boxes *= std::max<std::int64_t>(1, 2 * std::ssize(shape) - 1);
  return boxes;
}

Dims uncut_sizes(const MeshLayout& layout, const Dims& shape, std::int64_t position) {
  Dims sizes;
  for (const Intervals& intervals : intervals_of(layout, shape, coordinates_of(layout.mesh, position))) sizes.push_back(length(intervals));
  return sizes;
}

std::int64_t uncut_elements(const MeshLayout& layout, const Dims& shape, std::int64_t position) {
  const Dims sizes = uncut_sizes(layout, shape, position);
  return volume({sizes.data(), sizes.size()});
}

std::vector<std::int64_t> positions_near(const MeshLayout& layout, const Dims& shape, const Box& box) {
  std::vector<std::int64_t> positions;
  if (box.empty()) return positions;
  std::vector<Coordinates> found{Coordinates(layout.mesh.axes.size(), 0)};
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const std::vector<Cut> cuts = cuts_of(layout, static_cast<int>(d));
    if (cuts.empty()) continue;
    std::vector<Coordinates> next;
    for (const Choice& choice : choices_near(layout, cuts, shape[d], box.offset[d], box.offset[d] + box.size[d])) {
      for (const Coordinates& before : found) {
        next.push_back(before);
        for (std::size_t i = 0; i < cuts.size(); ++i) next.back()[static_cast<std::size_t>(cuts[i].axis)] = choice.coordinates[i];
      }
    }
    found = std::move(next);
  }
  for (const Coordinates& coordinates : found) {
    if (layout.flat) {
      append_runs_near(layout, boxes_of(intervals_of(layout, shape, coordinates)), box, coordinates, positions);
    } else {
      positions.push_back(position_of(layout.mesh, coordinates));
    }
  }
  std::ranges::sort(positions);
  return positions;
}

std::string to_string(const Mesh& mesh) {
  std::vector<std::int64_t> sizes;
  for (const MeshAxis& axis : mesh.axes) sizes.push_back(axis.size);
  if (mesh == packed_mesh(sizes, mesh.first)) return fmt::format("mesh({} from {})", fmt::join(sizes, "x"), mesh.first);
  std::vector<std::string> axes;
  for (const MeshAxis& axis : mesh.axes) axes.push_back(fmt::format("{}:{}", axis.size, axis.stride));
  return fmt::format("mesh({} from {})", fmt::join(axes, "x"), mesh.first);
}

std::string to_string(const MeshLayout& layout) {
  std::vector<std::string> placements;
  for (const Placement& placement : layout.placements) {
    if (const auto* shard = std::get_if<Shard>(&placement)) {
      placements.push_back(fmt::format("shard({})", shard->dim));
    } else if (const auto* strided = std::get_if<StridedShard>(&placement)) {
      placements.push_back(fmt::format("strided({} by {})", strided->dim, strided->split));
    } else if (const auto* segments = std::get_if<Segments>(&placement)) {
      placements.push_back(fmt::format("segments({}: {})", segments->dim, fmt::join(segments->lengths, "+")));
    } else {
      placements.emplace_back("replicate");
    }
  }
  std::string text = fmt::format("{} [{}]", to_string(layout.mesh), fmt::join(placements, ","));
  if (!layout.flat) return text;
  const FlatCut& flat = *layout.flat;
  const auto in_units = [](std::int64_t unit) { return unit == 1 ? std::string() : fmt::format(" in {}s", unit); };
  text += fmt::format(" flat(axes {} at {} by {}{}", fmt::join(flat.axes, ","), flat.offset, flat.run, in_units(flat.unit));
  if (!flat.inner_axes.empty()) text += fmt::format(", then axes {}{}", fmt::join(flat.inner_axes, ","), in_units(flat.inner_unit));
  return text + ")";
}

}  // namespace holdfast
