// What a campaign counted, as the values of reports/campaign_report.h.
#pragma once

#include <string>
#include <vector>

#include "reports/campaign_report.h"
#include "sim/campaign.h"

namespace holdfast::sim {

struct FaultSums {
  std::uint64_t enumerated = 0, fired = 0, consequential = 0, detected = 0, failed = 0;
};
FaultSums sums_of(const CampaignTotals& totals);

/// The name of a cell's step; "start" before the first.
std::string step_name(const std::string& step);

reports::ReportCounts counts_of(const CampaignTotals& totals);
reports::ReportCoverage coverage_of(const CampaignTotals& totals);
/// Of this process (impl/core/mark.h).
std::vector<reports::ReportMark> marks_so_far();

}  // namespace holdfast::sim
