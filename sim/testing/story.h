// A failing case told: what happened on which rank, in words and as a trace to draw.
#pragma once

#include <string>
#include <vector>

#include "impl/core/event.h"
#include "sim/workload.h"

namespace holdfast::sim {

/// "power_loss at door call 12 of rank 3".
std::string describe(const Fault& fault);
/// "error_before (no_space) at door call 4 of rank 0, power lost afterwards, persistence weak".
std::string describe(const Case& test);

struct Story {
  std::string beginning;                         ///< lines: the job and what was injected
  std::vector<std::vector<std::string>> events;  ///< the calls that matter: the columns of event_columns()
  std::string ending;                            ///< lines: the crash, how the ranks ended, what recovery found
};
std::vector<std::string> event_columns();
std::string to_string(const Story& story);

/// `title` names the job. The case must have been run with Scenario::record_events.
Story tell(const std::string& title, const Case& test, const CaseResult& result);

/// What happened before the recovery, to draw. Without random latency all times are 0: they would show only which deadline passed, the order of
/// the calls says more.
TraceRecord trace_record(std::string name, std::string seed, const Case& test, const CaseResult& result);

}  // namespace holdfast::sim
