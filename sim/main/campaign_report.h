// A campaign's findings as the values of reports/campaign_report.h.
#pragma once

#include <vector>

#include "reports/campaign_report.h"
#include "sim/main/known_bug.h"
#include "sim/main/parallel.h"
#include "sim/testing/totals.h"

namespace holdfast::sim::program {

/// One part of the second act.
struct Pass {
  std::string title;
  Cases cases = Cases::random;
  std::uint64_t planned = 0;  ///< cases
  ParallelOutcome outcome;
};

reports::ReportAct act_of(const Caught& bug);
/// With the save plan of the job drawn; `plan_svg` empty leaves it out.
reports::ReportAct act_of(const Job& job, const std::vector<Pass>& passes, const std::string& plan_svg);
/// The passes as one campaign.
CampaignTotals totals_of(const std::vector<Pass>& passes);
reports::ReportFailure failure_of(const FailureFile& failure, const std::string& path);

/// Who writes what, by Graphviz. Errors: unsupported without the program dot.
Result<std::string> save_plan_svg(const Job& job);

}  // namespace holdfast::sim::program
