// A campaign over several threads, each with a workload of its own. What it finds does not depend on their number.
#pragma once

#include <chrono>
#include <optional>

#include "sim/main/console.h"

namespace holdfast::sim::program {

enum class Cases { random, every_single_fault };

struct ParallelOptions {
  CampaignOptions campaign;  ///< part, parts, progress and stop are set here
  Cases cases = Cases::random;
  unsigned threads = 1;
  bool first_failure_only = false;  ///< ends at the case with the lowest index that fails
  std::optional<std::chrono::steady_clock::time_point> end = {};
  std::string title;
  std::uint64_t total = 0;  ///< cases, for the progress; 0: not known
};

struct ParallelOutcome {
  CampaignTotals totals;
  bool timed_out = false;  ///< not every case was run
  double seconds = 0;
};

ParallelOutcome run_campaign(const Job& job, const ParallelOptions& options, const Console& console);

/// Cases of an exhaustive campaign: the door calls of the story with each kind of fault that applies; empty `kinds` is every kind.
std::uint64_t count_single_faults(const Job& job, const std::vector<FaultKind>& kinds);

}  // namespace holdfast::sim::program
