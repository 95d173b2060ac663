#include "sim/testing/totals.h"

#include <algorithm>

#include "impl/core/mark.h"

namespace holdfast::sim {

std::string step_name(const std::string& step) { return step.empty() ? "start" : step; }

FaultSums sums_of(const CampaignTotals& totals) {
  FaultSums sums;
  for (const auto& [cell, count] : totals.coverage) {
    sums.enumerated += count.enumerated;
    sums.fired += count.fired;
    sums.consequential += count.consequential;
    sums.detected += count.detected;
    sums.failed += count.failed;
  }
  return sums;
}

reports::ReportCounts counts_of(const CampaignTotals& totals) {
  const FaultSums sums = sums_of(totals);
  return {totals.cases, totals.events, totals.door_calls, sums.enumerated, sums.fired, sums.consequential, sums.detected};
}

reports::ReportCoverage coverage_of(const CampaignTotals& totals) {
  reports::ReportCoverage coverage;
  for (const auto& [cell, count] : totals.coverage) {
    if (std::ranges::find(coverage.steps, step_name(cell.step)) == coverage.steps.end()) coverage.steps.push_back(step_name(cell.step));
  }
  for (std::size_t kind = 0; kind < fault_kinds; ++kind) {
    coverage.fault_kinds.emplace_back(to_string(static_cast<FaultKind>(kind)));
    coverage.cells.emplace_back(coverage.steps.size(), reports::CoverageCell{0, 0, false});
  }
  for (const auto& [cell, count] : totals.coverage) {
    const auto step = std::ranges::find(coverage.steps, step_name(cell.step)) - coverage.steps.begin();
    coverage.cells[static_cast<std::size_t>(cell.kind)][static_cast<std::size_t>(step)] = {count.fired, count.failed, true};
  }
  return coverage;
}

std::vector<reports::ReportMark> marks_so_far() {
  std::vector<reports::ReportMark> marks;
  for (const auto& [name, hits] : mark_hits()) marks.push_back({name, hits});
  return marks;
}

}  // namespace holdfast::sim
