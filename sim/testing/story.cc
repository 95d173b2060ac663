#include "sim/testing/story.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

namespace holdfast::sim {
namespace {

constexpr std::size_t changes_before_fault = 4, changes_at_end = 3, changes_without_fault = 8;

std::string when(std::int64_t nanoseconds) { return fmt::format("{:.3f} ms", static_cast<double>(nanoseconds) * 1e-6); }

/// Without latencies all times are 0: then the place in the order says more.
std::vector<std::string> row_of(const TraceEvent& event, std::size_t position, bool timed) {
  std::string result = event.result.empty() ? "never returned" : event.result;
  if (!event.fault.empty()) result += fmt::format("  <- injected: {}", event.fault);
  return {timed ? when(event.begin_ns) : fmt::format("#{}", position), fmt::format("{}", event.rank),
          event.step.empty() ? "start" : event.step, fmt::format("{}({})", event.op, event.object), result};
}

bool changes_storage(const TraceEvent& event) {
  return event.op.starts_with("storage.") && event.op != "storage.read" && event.op != "storage.size" && event.op != "storage.open" &&
         event.op != "storage.list" && event.op != "storage.close";
}

bool alike(const TraceEvent& a, const TraceEvent& b) {
  return a.rank == b.rank && a.op == b.op && a.object == b.object && a.fault == b.fault;
}

/// Adds the last `count` changes of the storage before `end`, of one rank or of all; of equal neighbours the last.
void add_changes(const std::vector<TraceEvent>& record, std::size_t end, std::size_t count, std::optional<Rank> rank,
                 std::set<std::size_t>& chosen) {
  const TraceEvent* later = end < record.size() ? &record[end] : nullptr;
  for (std::size_t i = end; i-- > 0 && count > 0;) {
    const TraceEvent& event = record[i];
    if (!changes_storage(event) || (rank && event.rank != *rank)) continue;
    if (!later || !alike(event, *later)) count -= chosen.insert(i).second;
    later = &event;
  }
}

/// The positions of the calls that tell the story, ascending: the faults with what the same rank did to the storage just before, and the
/// last changes of the storage, which a crash can take back.
std::set<std::size_t> telling(const std::vector<TraceEvent>& record) {
  std::set<std::size_t> chosen;
  for (std::size_t i = 0; i < record.size(); ++i) {
    if (record[i].fault.empty()) continue;
    chosen.insert(i);
    add_changes(record, i, changes_before_fault, record[i].rank, chosen);
  }
  add_changes(record, record.size(), chosen.empty() ? changes_without_fault : changes_at_end, std::nullopt, chosen);
  return chosen;
}

std::string ends_of(const Trace& act) {
  std::string text;
  for (std::size_t r = 0; r < act.ends.size(); ++r) {
    constexpr std::string_view how[] = {"returned", "was killed", "was left waiting", "ended by an exception"};
    text += fmt::format("{}rank {} {}", r == 0 ? "" : ", ", r, how[act.ends[r].how]);
  }
  return text;
}

/// The first of each property, and how many more there are.
std::string violations_of(const Verdict& verdict) {
  std::string text;
  std::set<std::string> told;
  for (const Violation& violation : verdict) {
    if (!told.insert(violation.property).second) continue;
    const auto more = std::ranges::count(verdict, violation.property, &Violation::property) - 1;
    text += fmt::format("  {} {}: {}{}\n", to_string(violation.verdict_class), violation.property, violation.message,
                        more == 0 ? "" : fmt::format(" (and {} more)", more));
  }
  return text;
}

}  // namespace

std::string describe(const Fault& fault) {
  std::string text = to_string(fault.kind);
  if (fault.kind == FaultKind::error_before || fault.kind == FaultKind::error_after) text += fmt::format(" ({})", to_string(fault.error));
  return text + fmt::format(" at door call {} of rank {}", fault.site.ordinal, fault.site.rank);
}

std::string describe(const Case& test) {
  std::string text;
  for (const Fault& fault : test.scenario.faults) text += fmt::format("{}{}", text.empty() ? "" : ", ", describe(fault));
  if (text.empty()) text = "no fault";
  if (test.power_loss_after) text += ", power lost afterwards";
  return text + fmt::format(", persistence {}", to_string(test.scenario.persistence));
}

std::vector<std::string> event_columns() { return {"when", "rank", "step", "call", "result"}; }

std::string to_string(const Story& story) {
  std::string text = story.beginning;
  for (const auto& row : story.events) text += fmt::format("  {:>12}  rank {}  {:12}  {} -> {}\n", row[0], row[1], row[2], row[3], row[4]);
  return text + story.ending;
}

Story tell(const std::string& title, const Case& test, const CaseResult& result) {
  const Trace& act = result.act;
  Story story;
  story.beginning = fmt::format("{}: a checkpoint is there; the job saves another one over it.\nInjected: {}.\n", title, describe(test));
  const std::set<std::size_t> chosen = telling(act.record);
  const bool timed = std::ranges::any_of(chosen, [&](std::size_t i) { return act.record[i].begin_ns != 0; });
  for (const std::size_t i : chosen) story.events.push_back(row_of(act.record[i], i, timed));
  if (act.power_lost || test.power_loss_after) {
    story.ending = fmt::format("Power is lost{}: of what was not synced, a subset that the model \"{}\" allows is kept.\n",
                               act.power_lost ? "" : " after the save", to_string(test.scenario.persistence));
  }
  story.ending += fmt::format("At the end {}. New processes recover and load:\n", ends_of(act));
  story.ending += violations_of(result.verdict);
  if (result.verdict.empty()) story.ending += "  nothing is wrong.\n";
  return story;
}

TraceRecord trace_record(std::string name, std::string seed, const Case& test, const CaseResult& result) {
  std::vector<TraceEvent> events = result.act.record;
  if (!test.scenario.random_latency) std::ranges::for_each(events, [](TraceEvent& event) { event.begin_ns = event.end_ns = 0; });
  return {std::move(name), std::move(seed), static_cast<std::int32_t>(result.act.ends.size()), result.act.event_hash, std::move(events)};
}

}  // namespace holdfast::sim
