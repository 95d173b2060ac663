#include "reports/campaign_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "reports/text.h"

namespace holdfast::reports {
namespace {

void add(ReportCounts& into, const ReportCounts& from) {
  into.runs += from.runs;
  into.events += from.events;
  into.door_calls += from.door_calls;
  into.faults_enumerated += from.faults_enumerated;
  into.faults_fired += from.faults_fired;
  into.faults_consequential += from.faults_consequential;
  into.faults_detected += from.faults_detected;
}

/// Position of `name` in `names`, added at the end when it is new.
std::size_t position_of(std::vector<std::string>& names, const std::string& name) {
  const auto found = std::ranges::find(names, name);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  names.push_back(name);
  return names.size() - 1;
}

void add(ReportCoverage& into, const ReportCoverage& from) {
  for (std::size_t kind = 0; kind < from.fault_kinds.size(); ++kind) {
    const std::size_t row = position_of(into.fault_kinds, from.fault_kinds[kind]);
    for (std::size_t step = 0; step < from.steps.size(); ++step) {
      const std::size_t column = position_of(into.steps, from.steps[step]);
      if (kind >= from.cells.size() || step >= from.cells[kind].size()) continue;
      if (into.cells.size() <= row) into.cells.resize(row + 1);
      if (into.cells[row].size() <= column) into.cells[row].resize(column + 1, CoverageCell{0, 0, false});
      CoverageCell& cell = into.cells[row][column];
      cell.fired += from.cells[kind][step].fired;
      cell.violations += from.cells[kind][step].violations;
      cell.possible = cell.possible || from.cells[kind][step].possible;
    }
  }
}

}  // namespace

ReportVerdict verdict_of(const CampaignReport& report) {
  const auto any = [&](ReportVerdict verdict) { return std::ranges::count(report.acts, verdict, &ReportAct::verdict) > 0; };
  if (!report.failures.empty() || any(ReportVerdict::bad)) return ReportVerdict::bad;
  return any(ReportVerdict::good) ? ReportVerdict::good : ReportVerdict::none;
}

std::string last_line(const CampaignReport& report) {
  if (!report.failures.empty()) {
    const ReportFailure& failure = report.failures.front();
    // The command must survive whole: the message gives way.
    const std::string head = clip(fmt::format("FAIL class={} prop={} ", failure.verdict_class, failure.property), 60);
    const std::string command = clip(failure.replay_command, 110);
    return clip(
        head + clip(first_line(failure.message), 200 - std::min<std::size_t>(200, head.size() + command.size() + 3)) + " | " + command,
        200);
  }
  const ReportVerdict verdict = verdict_of(report);
  const char* word = verdict == ReportVerdict::good ? "PASS" : verdict == ReportVerdict::bad ? "FAIL" : "NO VERDICT";
  return clip(fmt::format("{} {}: {}, {} fired, {} enumerated, seed {}", word, clip(report.name, 60), counted(report.counts.runs, "run"),
                          counted(report.counts.faults_fired, "fault"), grouped(report.counts.faults_enumerated), clip(report.seed, 44)),
              200);
}

CampaignReport merged(const std::vector<CampaignReport>& parts) {
  CampaignReport whole;
  if (parts.empty()) return whole;
  whole = parts.front();
  std::map<std::string, std::uint64_t> marks;
  for (const ReportMark& mark : whole.marks) marks[mark.name] += mark.hits;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const CampaignReport& part = parts[i];
    whole.started = std::min(whole.started, part.started);
    whole.duration_s = std::max(whole.duration_s, part.duration_s);  // the parts ran side by side
    if (part.machine != whole.machine) whole.machine += "; " + part.machine;
    if (part.seed != whole.seed) whole.seed += ", " + part.seed;
    add(whole.counts, part.counts);
    add(whole.coverage, part.coverage);
    whole.acts.insert(whole.acts.end(), part.acts.begin(), part.acts.end());
    whole.failures.insert(whole.failures.end(), part.failures.begin(), part.failures.end());
    for (const ReportMark& mark : part.marks) marks[mark.name] += mark.hits;
  }
  whole.marks.clear();
  for (const auto& [name, hits] : marks) whole.marks.push_back({name, hits});
  return whole;
}

}  // namespace holdfast::reports
