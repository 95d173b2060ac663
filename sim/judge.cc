#include "sim/judge.h"

#include <fmt/format.h>

namespace holdfast::sim {

void judge_run(const Trace& trace, std::string_view phase, Verdict& verdict) {
  const auto add = [&](VerdictClass verdict_class, std::string_view property, const std::string& message) {
    verdict.push_back({verdict_class, std::string(property), fmt::format("{}: {}", phase, message)});
  };
  if (!trace.harness_error.empty()) add(VerdictClass::harness, "harness", trace.harness_error);
  if (!trace.deadlock.empty()) add(VerdictClass::liveness, "L1", "deadlock: " + trace.deadlock);
  for (std::size_t r = 0; r < trace.ends.size(); ++r) {
    if (trace.ends[r].how != RankEnd::threw) continue;
    add(VerdictClass::crash, "L1", fmt::format("rank {} ended by an exception: {}", r, trace.ends[r].what));
  }
  for (const Leak& leak : trace.leaks) add(VerdictClass::safety, "L4", to_string(leak));
  for (const std::string& misuse : trace.misuse) add(VerdictClass::safety, "S10", misuse);
}

}  // namespace holdfast::sim
