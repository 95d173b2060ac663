#include "reports/perfetto.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "impl/core/check.h"

namespace holdfast::reports {
namespace {

using nlohmann::json;
using Track = std::pair<std::int32_t, std::int32_t>;  ///< rank, task

/// Collects events one by one: a document of a million events is never held as a tree.
class Writer {
 public:
  explicit Writer(int ranks_a_node) : ranks_a_node_(ranks_a_node) {}

  std::int32_t node(std::int32_t rank) const { return rank / ranks_a_node_; }

  void add(Track track, json event) {
    event["pid"] = node(track.first);
    // Perfetto wants small distinct numbers; its order of tracks is theirs.
    const auto [position, added] = thread_of_.emplace(track, static_cast<std::int64_t>(track.first) * 4096 + track.second);
    event["tid"] = position->second;
    if (!text_.empty()) text_ += ",\n";
    text_ += event.dump(-1, ' ', false, json::error_handler_t::replace);
  }

  void name_tracks() {
    std::set<std::int32_t> nodes;
    for (const auto& [track, thread] : std::map(thread_of_)) {
      if (nodes.insert(node(track.first)).second) {
        add(track, {{"ph", "M"}, {"name", "process_name"}, {"args", {{"name", fmt::format("node {}", node(track.first))}}}});
      }
      const std::string name =
          track.second == 0 ? fmt::format("rank {}", track.first) : fmt::format("rank {} task {}", track.first, track.second);
      add(track, {{"ph", "M"}, {"name", "thread_name"}, {"args", {{"name", name}}}});
      add(track, {{"ph", "M"}, {"name", "thread_sort_index"}, {"args", {{"sort_index", thread}}}});
    }
  }

  const std::string& text() const { return text_; }

 private:
  int ranks_a_node_;
  std::map<Track, std::int64_t> thread_of_;
  std::string text_;
};

double microseconds(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1000; }

struct StepSpan {
  std::string name;
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
};

void add_step(Writer& writer, Track track, const StepSpan& span) {
  if (span.name.empty()) return;
  writer.add(track, {{"ph", "X"},
                     {"cat", "step"},
                     {"name", span.name},
                     {"ts", microseconds(span.begin_ns)},
                     {"dur", microseconds(span.end_ns - span.begin_ns)}});
}

/// Unbroken runs of one step on a rank's main task become slices around the calls.
void add_steps(Writer& writer, const TraceRecord& trace) {
  std::map<Track, StepSpan> open;
  for (const TraceEvent& event : trace.events) {
    if (event.task != 0) continue;
    const Track track{event.rank.value, 0};
    StepSpan& span = open[track];
    if (span.name != event.step) {
      add_step(writer, track, span);
      span = {event.step, event.begin_ns, event.begin_ns};
    }
    span.end_ns = std::max({span.end_ns, event.begin_ns, event.end_ns});
  }
  for (const auto& [track, span] : open) add_step(writer, track, span);
}

}  // namespace

std::string perfetto_json(const TraceRecord& trace, int ranks_a_node) {
  CHECK(ranks_a_node >= 1, "{} ranks a node", ranks_a_node);
  Writer writer(ranks_a_node);
  add_steps(writer, trace);
  for (const TraceEvent& event : trace.events) {
    const Track track{event.rank.value, event.task};
    const json facts{{"object", event.object}, {"bytes", event.bytes}, {"result", event.result}, {"step", event.step}};
    if (!event.op.empty()) {
      writer.add(track, {{"ph", "X"},
                         {"cat", event.op.substr(0, event.op.find('.'))},
                         {"name", event.op},
                         {"ts", microseconds(event.begin_ns)},
                         {"dur", microseconds(std::max<std::int64_t>(0, event.end_ns - event.begin_ns))},
                         {"args", facts}});
    }
    if (!event.fault.empty()) {
      writer.add(track, {{"ph", "i"},
                         {"s", "p"},
                         {"cat", "fault"},
                         {"name", "fault: " + event.fault},
                         {"ts", microseconds(event.begin_ns)},
                         {"args", facts}});
    }
  }
  writer.name_tracks();
  const json about{{"name", trace.name}, {"seed", trace.seed}, {"event_hash", fmt::format("{:016x}", trace.event_hash)}};
  return fmt::format("{{\"displayTimeUnit\":\"ns\",\"otherData\":{},\"traceEvents\":[\n{}\n]}}\n",
                     about.dump(-1, ' ', false, json::error_handler_t::replace), writer.text());
}

}  // namespace holdfast::reports
