#include "reports/tensor_overlay.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <set>

#include "reports/palette.h"
#include "reports/svg.h"
#include "reports/text.h"

namespace holdfast::reports {
namespace {

constexpr double left = 76;
constexpr double top = 92;
constexpr double side_max = 640;
constexpr double side_min = 90;  // a thin tensor is drawn thicker than it is, and the picture says so
constexpr double cell_min = 4;   // lines closer than this run together
constexpr std::size_t ticks_max = 10;

/// The two dimensions drawn: down and across. None of a dimension: it is one element long.
struct Axes {
  std::optional<std::size_t> down;
  std::optional<std::size_t> across;
};

std::size_t cuts_along(const TensorOverlay& overlay, std::size_t dim) {
  std::set<std::int64_t> starts;
  for (const auto* boxes : {&overlay.saved, &overlay.wanted}) {
    for (const Box& box : *boxes) {
      if (box.offset.size() == overlay.shape.size()) starts.insert(box.offset[dim]);
    }
  }
  return starts.size();
}

Axes choose_axes(const TensorOverlay& overlay) {
  const std::size_t rank = overlay.shape.size();
  if (rank == 0) return {};
  if (rank == 1) return {std::nullopt, 0};
  if (rank == 2) return {0, 1};
  std::vector<std::size_t> dims(rank);
  for (std::size_t dim = 0; dim < rank; ++dim) dims[dim] = dim;
  std::ranges::stable_sort(dims, [&](std::size_t a, std::size_t b) { return cuts_along(overlay, a) > cuts_along(overlay, b); });
  return {std::min(dims[0], dims[1]), std::max(dims[0], dims[1])};
}

/// Elements to pixels.
struct Canvas {
  Axes axes;
  double height = side_min;
  double width = side_min;
  double rows = 1;
  double columns = 1;
  bool to_scale = true;

  SvgRect place(const Box& box) const {
    const auto interval = [&](const std::optional<std::size_t>& dim, double extent) -> std::array<double, 2> {
      if (!dim || box.offset.size() <= *dim) return {0, extent};
      const double begin = std::clamp(static_cast<double>(box.offset[*dim]), 0.0, extent);
      return {begin, std::clamp(begin + static_cast<double>(box.size[*dim]), begin, extent)};
    };
    const auto [y0, y1] = interval(axes.down, rows);
    const auto [x0, x1] = interval(axes.across, columns);
    return {left + x0 / columns * width, top + y0 / rows * height, (x1 - x0) / columns * width, (y1 - y0) / rows * height};
  }
};

Canvas make_canvas(const TensorOverlay& overlay) {
  Canvas canvas{choose_axes(overlay)};
  if (canvas.axes.down) canvas.rows = std::max(1.0, static_cast<double>(overlay.shape[*canvas.axes.down]));
  if (canvas.axes.across) canvas.columns = std::max(1.0, static_cast<double>(overlay.shape[*canvas.axes.across]));
  const double scale = side_max / std::max(canvas.rows, canvas.columns);
  canvas.height = std::max(side_min, canvas.rows * scale);
  canvas.width = std::max(side_min, canvas.columns * scale);
  canvas.to_scale = canvas.height == canvas.rows * scale && canvas.width == canvas.columns * scale;
  return canvas;
}

bool too_fine(const std::vector<Box>& boxes, const Canvas& canvas) {
  return std::ranges::any_of(boxes, [&](const Box& box) {
    const SvgRect at = canvas.place(box);
    return !box.empty() && std::min(at.width, at.height) < cell_min;
  });
}

void draw_grid(Svg& svg, const Canvas& canvas, const std::vector<Box>& boxes, bool saved) {
  if (too_fine(boxes, canvas)) {
    svg.rect({left, top, canvas.width, canvas.height}, {.fill = saved ? palette::blue : "none",
                                                        .stroke = saved ? palette::blue : palette::vermillion,
                                                        .stroke_width = 2,
                                                        .dashed = !saved,
                                                        .opacity = saved ? 0.25 : 1});
    return;
  }
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    if (boxes[i].empty()) continue;
    const SvgRect at = canvas.place(boxes[i]);
    const std::string tooltip = fmt::format("{} {}: {}", saved ? "saved chunk" : "wanted box", i, to_string(boxes[i]));
    if (saved) {
      svg.rect(at, {.fill = i % 2 == 0 ? palette::panel : palette::band, .stroke = palette::blue, .stroke_width = 1.5}, tooltip);
      if (at.width >= 26 && at.height >= 16) {
        svg.text(at.x + 5, at.y + 13, fmt::format("{}", i), {.colour = palette::blue, .size = 11, .bold = true});
      }
      continue;
    }
    const double inset = std::min({3.0, at.width / 4, at.height / 4});
    svg.rect({at.x + inset, at.y + inset, at.width - 2 * inset, at.height - 2 * inset},
             {.stroke = palette::vermillion, .stroke_width = 1.6, .dashed = true}, tooltip);
    if (at.width >= 40 && at.height >= 30) {
      svg.text(at.x + at.width - 8, at.y + at.height - 9, fmt::format("{}", i),
               {.colour = palette::vermillion, .size = 11, .anchor = "end", .bold = true});
    }
  }
}

void draw_ticks(Svg& svg, const TensorOverlay& overlay, const Canvas& canvas, bool down) {
  const auto dim = down ? canvas.axes.down : canvas.axes.across;
  if (!dim) return;
  std::set<std::int64_t> cuts{0, overlay.shape[*dim]};
  for (const Box& box : overlay.saved) {
    if (box.offset.size() > *dim) cuts.insert(box.offset[*dim]);
  }
  const std::vector<std::int64_t> sorted(cuts.begin(), cuts.end());
  const std::size_t every = (sorted.size() + ticks_max - 1) / ticks_max;
  const double extent = down ? canvas.rows : canvas.columns;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const bool last = i + 1 == sorted.size();
    if (!last && (i % every != 0 || i + every > sorted.size())) continue;
    const double share = std::clamp(static_cast<double>(sorted[i]) / extent, 0.0, 1.0);
    const std::string text = grouped(static_cast<std::uint64_t>(std::max<std::int64_t>(0, sorted[i])));
    if (down) svg.text(left - 8, top + share * canvas.height + 4, text, {.colour = palette::soft, .size = 11, .anchor = "end"});
    if (!down)
      svg.text(left + share * canvas.width, top - 8, text, {.colour = palette::soft, .size = 11, .anchor = last ? "end" : "middle"});
  }
  const std::string name = fmt::format("dim {}", *dim);
  if (down) svg.text(22, top + canvas.height / 2, name, {.colour = palette::soft, .size = 12, .anchor = "middle", .turned_degrees = -90});
}

/// "box 2 needs 3 saved chunks: 1 (25 %), 2 (50 %), 3 (25 %)"
std::string sources_of(const TensorOverlay& overlay, const std::vector<std::size_t>& mine) {
  constexpr std::size_t named_max = 4;
  std::int64_t needed = 0;
  for (const std::size_t box : mine) needed += overlay.wanted[box].volume();
  std::string named;
  std::size_t sources = 0;
  for (std::size_t i = 0; i < overlay.saved.size(); ++i) {
    std::int64_t shared = 0;
    for (const std::size_t box : mine) {
      if (overlay.saved[i].offset.size() != overlay.wanted[box].offset.size()) continue;
      if (const auto common = intersection(overlay.saved[i], overlay.wanted[box])) shared += common->volume();
    }
    if (shared == 0) continue;
    const double share = 100 * static_cast<double>(shared) / static_cast<double>(needed);
    if (++sources <= named_max) named += fmt::format("{}{} ({:.3g} %)", named.empty() ? "" : ", ", i, share);
  }
  if (sources > named_max) named += fmt::format(" and {} more", sources - named_max);
  return fmt::format("{} {}{}{}", mine.size() == 1 ? fmt::format("box {} needs", mine[0]) : fmt::format("{} boxes need", mine.size()),
                     counted(sources, "saved chunk"), sources == 0 ? "" : ": ", named);
}

}  // namespace

std::string tensor_overlay_svg(const TensorOverlay& overlay) {
  const Canvas canvas = make_canvas(overlay);
  Svg svg;
  svg.text(16, 26, clip(overlay.name, 70), {.colour = palette::ink, .size = 17, .bold = true});
  std::string facts = fmt::format("{} {}", to_string({overlay.shape.data(), overlay.shape.size()}), to_string(overlay.dtype));
  if (overlay.shape.size() > 2) facts += fmt::format(", dimensions {} and {} drawn", *canvas.axes.down, *canvas.axes.across);
  if (!canvas.to_scale) facts += ", not to scale";
  svg.text(16, 46, facts, {.colour = palette::soft, .size = 12});
  draw_grid(svg, canvas, overlay.saved, true);
  std::vector<std::size_t> mine;
  std::ranges::copy_if(overlay.mine, std::back_inserter(mine),
                       [&](std::size_t box) { return box < overlay.wanted.size() && !overlay.wanted[box].empty(); });
  for (const std::size_t box : mine) svg.rect(canvas.place(overlay.wanted[box]), {.fill = palette::orange, .opacity = 0.45});
  draw_grid(svg, canvas, overlay.wanted, false);
  draw_ticks(svg, overlay, canvas, true);
  draw_ticks(svg, overlay, canvas, false);

  double y = top + canvas.height + 26;
  svg.rect({16, y - 10, 22, 12}, {.fill = palette::panel, .stroke = palette::blue, .stroke_width = 1.5});
  svg.text(46, y, counted(overlay.saved.size(), "saved chunk") + (too_fine(overlay.saved, canvas) ? ", too fine to draw each" : ""),
           {.colour = palette::ink, .size = 12});
  y += 20;
  svg.rect({16, y - 10, 22, 12}, {.stroke = palette::vermillion, .stroke_width = 1.6, .dashed = true});
  svg.text(46, y,
           fmt::format("{} wanted {}{}", grouped(overlay.wanted.size()), overlay.wanted.size() == 1 ? "box" : "boxes",
                       too_fine(overlay.wanted, canvas) ? ", too fine to draw each" : ""),
           {.colour = palette::ink, .size = 12});
  if (!mine.empty()) {
    y += 20;
    svg.rect({16, y - 10, 22, 12}, {.fill = palette::orange, .opacity = 0.45});
    svg.text(46, y, sources_of(overlay, mine), {.colour = palette::ink, .size = 12});
  }
  return svg.document(std::max(660.0, left + canvas.width + 24), y + 16, "saved and wanted cut of tensor " + clip(overlay.name, 70));
}

}  // namespace holdfast::reports
