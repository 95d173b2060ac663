#include "reports/rank_bars.h"

#include <algorithm>

#include "reports/grouping.h"
#include "reports/palette.h"
#include "reports/svg.h"
#include "reports/text.h"
#include "reports/writes.h"

namespace holdfast::reports {
namespace {

constexpr double left = 24;
constexpr double width = 960;
constexpr double top = 58;
constexpr double row_height = 232;
constexpr double bars_height = 130;
constexpr std::size_t bars_max = 256;
constexpr double told = 1.05;  // largest over mean, from which on it matters which rank is largest
constexpr double hot = 1.25;

std::string bar_tooltip(const Members& ranks, std::uint64_t low, std::uint64_t high) {
  return rank_title(ranks) + ": " + human_bytes(low) + (low == high ? "" : " to " + human_bytes(high));
}

void draw_bars(Svg& svg, const std::vector<std::uint64_t>& bytes, const Spread& spread, double base) {
  const std::vector<Members> bars = blocks(bytes.size(), bars_max);
  const double step = width / static_cast<double>(bars.size());
  const double scale = spread.max > 0 ? bars_height / static_cast<double>(spread.max) : 0;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    std::uint64_t low = bytes[bars[i][0]], high = low;
    for (const std::size_t rank : bars[i]) {
      low = std::min(low, bytes[rank]);
      high = std::max(high, bytes[rank]);
    }
    const bool is_max = high == spread.max && spread.imbalance > hot;
    const std::string_view colour = is_max ? palette::vermillion : palette::blue;
    const double x = left + static_cast<double>(i) * step;
    const double gap = step > 6 ? 1.5 : -0.4;  // thin bars touch, or their seams would show
    const double high_y = static_cast<double>(high) * scale, low_y = static_cast<double>(low) * scale;
    const std::string tooltip = bar_tooltip(bars[i], low, high);
    svg.rect({x, base - high_y, step - gap, high_y}, {.fill = colour, .opacity = 0.4}, tooltip);
    svg.rect({x, base - low_y, step - gap, low_y}, {.fill = colour}, tooltip);
  }
}

void draw_row(Svg& svg, const RankBars::Row& row, double y) {
  const Spread spread = spread_of(row.rank_bytes);
  const std::size_t ranks = row.rank_bytes.size();
  const double base = y + 62 + bars_height;
  const std::string imbalance = "imbalance " + ratio(spread.imbalance);
  svg.text(left, y + 14, fmt::format("{} a rank: {}", row.what, clip(row.by, 100)), {.colour = palette::ink, .size = 13, .bold = true});
  svg.text(left + width, y + 14, imbalance,
           {.colour = spread.imbalance > hot ? palette::vermillion : palette::ink, .size = 13, .anchor = "end", .bold = true});
  svg.text(left, y + 32,
           fmt::format("min {}, median {}, max {}", human_bytes(spread.min), human_bytes(spread.median), human_bytes(spread.max)),
           {.colour = palette::soft, .size = 12});
  if (ranks > bars_max) {
    svg.text(left + width, y + 32,
             fmt::format("a bar is {} ranks: full to the smallest, light to the largest", (ranks + bars_max - 1) / bars_max),
             {.colour = palette::soft, .size = 12, .anchor = "end"});
  }
  if (ranks == 0) return;
  draw_bars(svg, row.rank_bytes, spread, base);
  svg.line(left, base, left + width, base, {.stroke = palette::line});
  if (spread.max > 0) {
    const double mean = static_cast<double>(spread.max) / spread.imbalance;
    const double mean_y = base - mean / static_cast<double>(spread.max) * bars_height;
    svg.line(left, mean_y, left + width, mean_y, {.stroke = palette::ink, .stroke_width = 1, .dashed = true});
    if (spread.imbalance > told) {
      const auto most = static_cast<std::size_t>(std::ranges::max_element(row.rank_bytes) - row.rank_bytes.begin());
      const double x = left + (static_cast<double>(most) + 0.5) / static_cast<double>(ranks) * width;
      const bool at_right = x > left + width / 2;
      svg.text(x, base - bars_height - 8, fmt::format("rank {} has most", grouped(most)),
               {.colour = spread.imbalance > hot ? palette::vermillion : palette::soft, .size = 11, .anchor = at_right ? "end" : "start"});
    }
    svg.text(left, base + 34, fmt::format("dashed line: mean {}", human_bytes(static_cast<std::uint64_t>(mean))),
             {.colour = palette::soft, .size = 11});
  }
  svg.text(left, base + 16, "rank 0", {.colour = palette::soft, .size = 11});
  if (ranks > 1)
    svg.text(left + width, base + 16, fmt::format("rank {}", grouped(ranks - 1)), {.colour = palette::soft, .size = 11, .anchor = "end"});
}

}  // namespace

std::string rank_bars_svg(const RankBars& bars) {
  Svg svg;
  svg.text(left, 28, clip(bars.title, 110), {.colour = palette::ink, .size = 17, .bold = true});
  double y = top;
  for (const RankBars::Row& row : bars.rows) {
    draw_row(svg, row, y);
    y += row_height + 14;
  }
  return svg.document(width + 2 * left, y + 4, "bytes a rank: " + clip(bars.title, 110));
}

}  // namespace holdfast::reports
