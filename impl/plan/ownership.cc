#include "impl/plan/ownership.h"

#include <algorithm>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::plan {
namespace {

constexpr std::int64_t unit_bytes_min = 64 << 10;
constexpr std::int64_t row_bytes_max = 1 << 20;
constexpr std::int64_t line_elements_max = std::int64_t{1} << 61;  ///< more start another line: the numbers stay in range

/// `part`: sizes of what the placements leave to a rank; `held`: elements of it that a rank holds at most.
std::int64_t unit_elements(const LayoutItem& tensor, const Dims& part, std::int64_t held) {
  const std::int64_t element_bytes = size_bytes(tensor.dtype);
  const std::int64_t elements = volume({part.data(), part.size()});
  if (held <= unit_bytes_min / element_bytes || !can_cut_flat(tensor.layout, tensor.shape)) return std::max<std::int64_t>(1, elements);
  MARK("plan.unit_of_rows");
  std::int64_t row = elements;
  for (std::size_t d = 0; d < part.size(); ++d) {
    row /= part[d];
    if (row <= row_bytes_max / element_bytes) break;
  }
  const std::int64_t row_bytes = row * element_bytes;
  return row * ((unit_bytes_min + row_bytes - 1) / row_bytes);
}

/// Parts of tensors end to end.
struct Line {
  Mesh mesh;
  std::vector<int> axes;
  std::uint32_t element_bytes = 1;
  std::int64_t elements = 0;
  std::vector<std::size_t> tensors;
};

class Lines {
 public:
  /// Where the part lies on its line.
  std::int64_t add(std::size_t number, const LayoutItem& tensor, const std::vector<int>& axes, std::int64_t elements) {
    const std::uint32_t width = size_bytes(tensor.dtype);
    const auto same = [&](const Line& line) {
      return line.element_bytes == width && line.elements <= line_elements_max - elements && line.mesh == tensor.layout.mesh &&
             line.axes == axes;
    };
    auto line = std::ranges::find_if(lines_, same);
    if (line == lines_.end()) line = lines_.insert(lines_.end(), Line{tensor.layout.mesh, axes, width, 0, {}});
    line->tensors.push_back(number);
    line->elements += elements;
    return line->elements - elements;
  }
  const std::vector<Line>& all() const { return lines_; }

 private:
  std::vector<Line> lines_;
};

std::int64_t ranks_along(const Mesh& mesh, const std::vector<int>& axes) {
  std::int64_t ranks = 1;
  for (const int axis : axes) ranks *= mesh.axes[static_cast<std::size_t>(axis)].size;
  return ranks;
}

}  // namespace

std::vector<MeshLayout> writer_layouts(std::span<const LayoutItem* const> tensors, DedupPolicy policy) {
  std::vector<MeshLayout> layouts;
  Lines lines;
  for (const LayoutItem* tensor : tensors) {
    MeshLayout& layout = layouts.emplace_back(tensor->layout);
    const std::vector<int> axes = replicated_axes(layout);
    if (axes.empty() || MUTATE("plan.rule_replicas_kept", false, true)) continue;
    if (policy == DedupPolicy::lowest_rank || (layout.flat && !layout.flat->inner_axes.empty())) {
      for (const int axis : axes) layout.mesh.axes[static_cast<std::size_t>(axis)].size = 1;
      continue;
    }
    const Dims part = uncut_sizes(layout, tensor->shape, 0);
    const std::int64_t elements = volume({part.data(), part.size()});
    if (layout.flat) {
      MARK("plan.run_cut_again");
      layout.flat->inner_axes.assign(axes.begin(), axes.end());
      layout.flat->inner_unit = unit_elements(*tensor, part, std::min(elements, layout.flat->run));
      continue;
    }
    FlatCut flat;
    flat.axes.assign(axes.begin(), axes.end());
    flat.offset = lines.add(layouts.size() - 1, *tensor, axes, elements);
    flat.unit = unit_elements(*tensor, part, elements);
    layout.flat = std::move(flat);
  }
  for (const Line& line : lines.all()) {
    const std::int64_t ranks = ranks_along(line.mesh, line.axes);
    const std::int64_t run = std::max<std::int64_t>(1, (line.elements + ranks - 1) / ranks);
    for (const std::size_t tensor : line.tensors)
      layouts[tensor].flat->run = MUTATE("plan.rule_unbalanced", run, std::max<std::int64_t>(1, line.elements));
  }
  return layouts;
}

}  // namespace holdfast::plan
