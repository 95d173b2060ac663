#include "reports/time_axis.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "reports/text.h"

namespace holdfast::reports {
namespace {

constexpr double cut_width = 26;
constexpr std::size_t cuts_max = 4;
constexpr double tick_distance_min = 90;

/// The largest of 1, 2, 5 times a power of ten that is not above `value`.
double round_down(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  return value >= 5 * power ? 5 * power : value >= 2 * power ? 2 * power : power;
}

/// The waits to cut out, by their begin: as many of the longest as are each twice as long as everything that is left.
std::set<std::size_t> waits_to_cut(const std::vector<std::int64_t>& times) {
  std::vector<std::size_t> gaps;
  for (std::size_t i = 1; i < times.size(); ++i) gaps.push_back(i - 1);
  const auto length = [&](std::size_t gap) { return times[gap + 1] - times[gap]; };
  std::ranges::stable_sort(gaps, [&](std::size_t a, std::size_t b) { return length(a) > length(b); });
  std::size_t cut = 0;
  std::int64_t rest = times.back() - times.front();
  for (std::size_t i = 0; i < std::min(cuts_max, gaps.size()); ++i) {
    rest -= length(gaps[i]);
    if (rest > 0 && length(gaps[i]) / 2 > rest) cut = i + 1;
  }
  return {gaps.begin(), gaps.begin() + static_cast<std::ptrdiff_t>(cut)};
}

}  // namespace

double TimeAxis::break_width() const { return cut_width; }

TimeAxis::TimeAxis(const std::vector<TraceEvent>& events, double left, double width) {
  if (events.empty()) return;
  std::int64_t first = events[0].begin_ns;
  std::int64_t last = first;
  for (const TraceEvent& event : events) {
    first = std::min({first, event.begin_ns, event.end_ns});
    last = std::max({last, event.begin_ns, event.end_ns});
  }
  if (first < last) {
    place_by_time(events, left, width);
    return;
  }
  by_order_ = true;
  const double pace = width / static_cast<double>(events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    positions_.emplace_back(left + pace * static_cast<double>(i), left + pace * (static_cast<double>(i) + 0.8));
  }
}

void TimeAxis::place_by_time(const std::vector<TraceEvent>& events, double left, double width) {
  std::vector<std::int64_t> times;
  for (const TraceEvent& event : events) {
    times.push_back(event.begin_ns);
    times.push_back(std::max(event.begin_ns, event.end_ns));
  }
  std::ranges::sort(times);
  times.erase(std::unique(times.begin(), times.end()), times.end());
  const std::set<std::size_t> cut = waits_to_cut(times);
  double busy = 0;
  for (std::size_t i = 1; i < times.size(); ++i) {
    if (!cut.contains(i - 1)) busy += static_cast<double>(times[i] - times[i - 1]);
  }
  const double scale = (width - cut_width * static_cast<double>(cut.size())) / busy;
  const double tick = round_down(busy) >= busy / 2 ? round_down(busy) / 10 : round_down(busy) / 5;

  std::map<std::int64_t, double> place;
  double x = left;
  double last_tick = left - tick_distance_min;
  for (std::size_t i = 0; i < times.size(); ++i) {
    place[times[i]] = x;
    if (i + 1 == times.size()) break;
    if (cut.contains(i)) {
      breaks_.emplace_back(x, human_time(times[i + 1] - times[i]));
      x += cut_width;
      continue;
    }
    const double begin = static_cast<double>(times[i] - times.front());
    const double end = static_cast<double>(times[i + 1] - times.front());
    for (double at = std::ceil(begin / tick) * tick; at < end; at += tick) {
      const double position = x + (at - begin) * scale;
      if (position - last_tick < tick_distance_min) continue;
      ticks_.emplace_back(position, human_time(std::llround(at)));
      last_tick = position;
    }
    x += (end - begin) * scale;
  }
  for (const TraceEvent& event : events) positions_.emplace_back(place[event.begin_ns], place[std::max(event.begin_ns, event.end_ns)]);
}

}  // namespace holdfast::reports
