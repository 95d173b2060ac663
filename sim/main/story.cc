#include "sim/main/story.h"

#include <algorithm>

#include "reports/text.h"

namespace holdfast::sim::program {

Retold retell(const FailureFile& failure) {
  const auto workload = make_workload(failure.job);
  const Disk prepared = workload->prepare();
  Case test = failure.test;
  test.scenario.record_events = true;
  Retold told;
  told.result = run_case(*workload, test, prepared);
  const std::string title = describe(failure.job);
  told.record = trace_record(title, fmt::format("{}", failure.seed), test, told.result);
  told.fails_alike = std::ranges::any_of(told.result.verdict,
                                         [&](const Violation& violation) { return violation.property == failure.signature.property; });
  told.story = tell(title, failure.test, told.result);
  told.story.ending += fmt::format("Shrunk from {} to {}, from {} to {}, in {}.\n", reports::counted(failure.faults_before, "fault"),
                                   failure.test.scenario.faults.size(), reports::counted(failure.decisions_before, "choice"),
                                   failure.decisions_after, reports::counted(failure.shrink_runs, "run"));
  return told;
}

}  // namespace holdfast::sim::program
