#include "reports/space_time.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "reports/palette.h"
#include "reports/svg.h"
#include "reports/text.h"
#include "reports/time_axis.h"

namespace holdfast::reports {
namespace {

constexpr double left = 118;
constexpr double width = 1060;
constexpr double top = 108;
constexpr double lane_height = 44;
constexpr double row_height = 7;
constexpr std::size_t fault_labels_max = 12;

/// Families of calls, each with its colour and its row within a lane: position says what colour says.
struct Family {
  std::string_view name;
  std::string_view prefix;
  std::string_view colour;
};
constexpr std::array<Family, 5> families{{
    {"storage", "storage", palette::blue},
    {"control network", "net", palette::green},
    {"data plane", "data", palette::sky},
    {"device", "device", palette::orange},
    {"clock, tasks, other", "", palette::grey},
}};

std::size_t family_of(std::string_view op) {
  for (std::size_t i = 0; i + 1 < families.size(); ++i) {
    if (op.starts_with(families[i].prefix)) return i;
  }
  return families.size() - 1;
}

bool failed(const TraceEvent& event) { return !event.result.empty() && event.result != "ok"; }

/// Which ranks have lanes of their own, and where.
struct Lanes {
  std::vector<std::int32_t> ranks;  ///< ascending
  std::size_t others = 0;

  std::size_t count() const { return ranks.size() + (others > 0 ? 1 : 0); }
  std::size_t of(std::int32_t rank) const {
    const auto position = std::ranges::lower_bound(ranks, rank);
    return position != ranks.end() && *position == rank ? static_cast<std::size_t>(position - ranks.begin()) : ranks.size();
  }
};

Lanes choose_lanes(const TraceRecord& trace, std::size_t lanes_max) {
  std::set<std::int32_t> all;
  for (std::int32_t rank = 0; rank < trace.world_size; ++rank) all.insert(rank);
  std::set<std::int32_t> faulty;
  std::set<std::int32_t> erring;
  for (const TraceEvent& event : trace.events) {
    all.insert(event.rank.value);
    if (!event.fault.empty()) faulty.insert(event.rank.value);
    if (failed(event)) erring.insert(event.rank.value);
  }
  std::set<std::int32_t> chosen;
  const auto take = [&](const auto& ranks, std::size_t limit) {
    for (const std::int32_t rank : ranks) {
      if (chosen.size() < limit) chosen.insert(rank);
    }
  };
  const std::size_t limit = std::max<std::size_t>(1, lanes_max);
  if (all.size() <= limit) {
    take(all, limit);
  } else {
    take(faulty, limit);
    if (chosen.size() < limit) chosen.insert(*all.begin());  // the coordinator
    take(erring, std::max(chosen.size(), limit * 3 / 4));
    const std::vector<std::int32_t> sorted(all.begin(), all.end());
    for (std::size_t i = 0; chosen.size() < limit && i < limit; ++i) chosen.insert(sorted[i * sorted.size() / limit]);
  }
  return {std::vector<std::int32_t>(chosen.begin(), chosen.end()), all.size() - chosen.size()};
}

/// Calls of one lane and family that begin in the same few pixels.
struct Box {
  double end = 0;
  std::size_t calls = 0;
  const TraceEvent* first = nullptr;
  const TraceEvent* error = nullptr;
};
using Boxes = std::map<std::array<std::size_t, 3>, Box>;  ///< lane, family, pixel

Boxes boxes_of(const TraceRecord& trace, const Lanes& lanes, const TimeAxis& axis, std::size_t boxes_max) {
  for (double quantum = 1;; quantum *= 2) {
    Boxes boxes;
    for (std::size_t i = 0; i < trace.events.size(); ++i) {
      const TraceEvent& event = trace.events[i];
      if (event.op.empty()) continue;
      const double begin = axis.begin_of(i);
      Box& box = boxes[{lanes.of(event.rank.value), family_of(event.op), static_cast<std::size_t>((begin - left) / quantum)}];
      box.end = std::max(box.end, axis.end_of(i));
      ++box.calls;
      if (!box.first) box.first = &event;
      if (failed(event) && !box.error) box.error = &event;
    }
    if (boxes.size() <= boxes_max || quantum > width) return boxes;
  }
}

std::string describe(const TraceEvent& event) {
  std::string text = fmt::format("rank {}: {}({})", event.rank, clip(event.op, 40), clip(event.object, 80));
  if (event.bytes > 0) text += ", " + human_bytes(event.bytes);
  text +=
      fmt::format(", {} after {}", event.result.empty() ? "no result" : clip(event.result, 60), human_time(event.end_ns - event.begin_ns));
  if (!event.step.empty()) text += ", step " + clip(event.step, 40);
  return text;
}

/// Where each step runs in each lane.
struct Span {
  double begin = 0, end = 0;
};

void draw_steps(Svg& svg, const TraceRecord& trace, const Lanes& lanes, const TimeAxis& axis) {
  std::map<std::string, std::map<std::size_t, Span>> steps;
  for (std::size_t i = 0; i < trace.events.size(); ++i) {
    const TraceEvent& event = trace.events[i];
    if (event.step.empty()) continue;
    const double begin = axis.begin_of(i);
    const auto [span, added] = steps[event.step].emplace(lanes.of(event.rank.value), Span{begin, axis.end_of(i)});
    if (added) continue;
    span->second.begin = std::min(span->second.begin, begin);
    span->second.end = std::max(span->second.end, axis.end_of(i));
  }
  std::vector<std::pair<double, std::string>> starts;
  for (const auto& [name, spans] : steps) {
    double start = left + width;
    for (const auto& [lane, span] : spans) start = std::min(start, span.begin);
    starts.emplace_back(start, name);
  }
  std::ranges::sort(starts);
  std::array<double, 3> row_ends{};
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const auto& [start, name] = starts[i];
    for (const auto& [lane, span] : steps[name]) {
      svg.rect({span.begin, top + static_cast<double>(lane) * lane_height + 2, std::max(1.0, span.end - span.begin), lane_height - 4},
               {.fill = i % 2 == 0 ? palette::band : palette::line, .opacity = 0.55}, "step " + clip(name, 60));
    }
    // Steps that start close together have their names one above the other.
    const auto row = std::ranges::find_if(row_ends, [&, at = start](double end) { return at >= end; });
    const double label_y = top - 12 - 14 * static_cast<double>(row - row_ends.begin());
    svg.line(start, row == row_ends.end() ? top - 6 : label_y + 2, start, top, {.stroke = palette::soft});
    if (row == row_ends.end()) continue;
    const std::string label = clip(name, 24);
    svg.text(start + 3, label_y, label, {.colour = palette::ink, .size = 11, .bold = true});
    *row = start + 6.4 * static_cast<double>(label.size()) + 12;
  }
}

void draw_lanes(Svg& svg, const Lanes& lanes) {
  for (std::size_t lane = 0; lane < lanes.count(); ++lane) {
    const double y = top + static_cast<double>(lane) * lane_height;
    const bool others = lane == lanes.ranks.size();
    const std::string name = others ? fmt::format("{} others", grouped(lanes.others)) : fmt::format("rank {}", lanes.ranks[lane]);
    svg.text(left - 12, y + lane_height / 2 + 4, name,
             {.colour = others ? palette::soft : palette::ink, .size = 12, .anchor = "end", .bold = !others});
    svg.line(left, y + lane_height, left + width, y + lane_height, {.stroke = palette::line});
  }
}

void draw_calls(Svg& svg, const Boxes& boxes, const TimeAxis& axis, const TraceRecord& trace) {
  for (const auto& [key, box] : boxes) {
    const auto& [lane, kind, pixel] = key;
    const double begin = axis.begin_of(static_cast<std::size_t>(box.first - trace.events.data()));
    const SvgRect at{begin, top + static_cast<double>(lane) * lane_height + 4 + static_cast<double>(kind) * row_height,
                     std::max(2.0, box.end - begin), row_height - 1};
    const TraceEvent& told = box.error ? *box.error : *box.first;
    const std::string tooltip = (box.calls > 1 ? fmt::format("{} calls; ", grouped(box.calls)) : std::string()) + describe(told);
    svg.rect(at,
             {.fill = families[kind].colour,
              .stroke = box.error ? palette::vermillion : "none",
              .stroke_width = 1.5,
              .opacity = 0.9,
              .radius = 1},
             tooltip);
  }
}

void draw_faults(Svg& svg, const TraceRecord& trace, const Lanes& lanes, const TimeAxis& axis) {
  std::size_t labels = 0;
  for (std::size_t i = 0; i < trace.events.size(); ++i) {
    const TraceEvent& event = trace.events[i];
    if (event.fault.empty()) continue;
    const double x = axis.begin_of(i);
    const double y = top + static_cast<double>(lanes.of(event.rank.value)) * lane_height + lane_height / 2;
    svg.open_group(fmt::format("fault-{}", i));
    svg.polygon(fmt::format("{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}", x, y - 13, x + 13, y, x, y + 13, x - 13, y),
                {.fill = palette::vermillion, .stroke = palette::ground, .stroke_width = 2},
                "fault " + clip(event.fault, 80) + "; " + describe(event));
    svg.text(x, y + 5, "!", {.colour = palette::ground, .size = 15, .anchor = "middle", .bold = true});
    if (++labels <= fault_labels_max) {
      const bool to_left = x > left + width * 0.7;
      const std::string label = clip(event.fault, 44);
      const double label_width = 6.1 * static_cast<double>(label.size()) + 8;
      svg.rect({to_left ? x - 15 - label_width : x + 14, y - 9, label_width, 18}, {.fill = palette::ground, .opacity = 0.88, .radius = 3});
      svg.text(to_left ? x - 18 : x + 18, y + 4, label,
               {.colour = palette::vermillion, .size = 12, .anchor = to_left ? "end" : "start", .bold = true});
    }
    svg.close_group();
  }
}

/// The first durable name of a commit record.
void draw_commit(Svg& svg, const TraceRecord& trace, const TimeAxis& axis, double bottom) {
  for (std::size_t i = 0; i < trace.events.size(); ++i) {
    const TraceEvent& event = trace.events[i];
    const bool names = event.op.starts_with("storage.link") || event.op.starts_with("storage.rename");
    if (!names || failed(event) || event.object.find("MANIFEST") == std::string::npos) continue;
    const double x = axis.end_of(i);
    svg.line(x, top - 2, x, bottom, {.stroke = palette::green, .stroke_width = 1.6, .dashed = true});
    svg.text(x, bottom + 34, "commit record named",
             {.colour = palette::green, .size = 11, .anchor = x > left + width * 0.85 ? "end" : "middle", .bold = true});
    return;
  }
}

void draw_axis(Svg& svg, const TimeAxis& axis, double bottom) {
  svg.line(left, bottom, left + width, bottom, {.stroke = palette::soft});
  for (const auto& [x, label] : axis.ticks()) {
    svg.line(x, bottom, x, bottom + 5, {.stroke = palette::soft});
    svg.text(x, bottom + 18, label, {.colour = palette::soft, .size = 11, .anchor = "middle"});
  }
  for (const auto& [x, label] : axis.breaks()) {
    svg.rect({x, top, axis.break_width(), bottom - top}, {.fill = palette::ground, .opacity = 0.75});
    for (const double edge : {x, x + axis.break_width()}) svg.line(edge, top, edge, bottom, {.stroke = palette::soft, .dashed = true});
    const double middle = x + axis.break_width() / 2;
    svg.text(middle + 4, (top + bottom) / 2, label + " cut out",
             {.colour = palette::soft, .size = 11, .anchor = "middle", .turned_degrees = -90});
  }
}

void draw_legend(Svg& svg, double y) {
  double x = left;
  for (const Family& kind : families) {
    svg.rect({x, y - 9, 16, 9}, {.fill = kind.colour, .radius = 1});
    svg.text(x + 22, y, kind.name, {.colour = palette::ink, .size = 12});
    x += 44 + 6.6 * static_cast<double>(kind.name.size());
  }
  svg.rect({x, y - 9, 16, 9}, {.fill = palette::grey, .stroke = palette::vermillion, .stroke_width = 1.5});
  svg.text(x + 22, y, "returned an error", {.colour = palette::ink, .size = 12});
  x += 150;
  svg.polygon(fmt::format("{0:.1f},{1:.1f} {2:.1f},{3:.1f} {0:.1f},{4:.1f} {5:.1f},{3:.1f}", x + 8, y - 13, x + 16, y - 5, y + 3, x),
              {.fill = palette::vermillion});
  svg.text(x + 22, y, "fault", {.colour = palette::ink, .size = 12});
}

}  // namespace

std::string space_time_svg(const TraceRecord& trace, const SpaceTimeOptions& options) {
  const Lanes lanes = choose_lanes(trace, options.lanes_max);
  const TimeAxis axis(trace.events, left, width);
  const double bottom = top + static_cast<double>(lanes.count()) * lane_height;
  Svg svg;
  svg.text(16, 30, clip(trace.name, 90), {.colour = palette::ink, .size = 17, .bold = true});
  const std::string facts = fmt::format("seed {}, {}, {}, event hash {:016x}", clip(trace.seed, 44), counted(trace.events.size(), "event"),
                                        counted(static_cast<std::uint64_t>(std::max(0, trace.world_size)), "rank"), trace.event_hash);
  svg.text(16, 52, facts + (axis.by_order() ? "; left to right: order of events" : ""), {.colour = palette::soft, .size = 12});
  draw_steps(svg, trace, lanes, axis);
  draw_lanes(svg, lanes);
  draw_calls(svg, boxes_of(trace, lanes, axis, options.boxes_max), axis, trace);
  draw_axis(svg, axis, bottom);
  draw_commit(svg, trace, axis, bottom);
  draw_faults(svg, trace, lanes, axis);
  draw_legend(svg, bottom + 60);
  return svg.document(left + width + 32, bottom + 78, "space-time diagram of " + clip(trace.name, 90));
}

}  // namespace holdfast::reports
