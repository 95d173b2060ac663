// JUnit XML, as CI systems read it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "reports/campaign_report.h"

namespace holdfast::reports {

enum class JunitOutcome : std::uint8_t { passed, failed, skipped };

struct JunitCase {
  std::string suite;  ///< "sim.exhaust"
  std::string name;   ///< "S1: old or new"
  double seconds = 0;
  JunitOutcome outcome = JunitOutcome::passed;
  std::string message;  ///< one line: why it failed or was skipped
  std::string details;  ///< more lines
};

/// Cases of one suite stand together, in the order of their first case.
std::string junit_xml(const std::string& name, const std::vector<JunitCase>& cases);

/// A case an act, skipped where it has no verdict, and a case a failure.
std::vector<JunitCase> junit_cases(const CampaignReport& report);

}  // namespace holdfast::reports
