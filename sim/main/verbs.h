// The verbs of holdfast-sim.
#pragma once

#include <chrono>
#include <string>

#include "sim/main/parallel.h"

namespace holdfast::sim::program {

struct RunArguments {
  JobRequest job;
  std::string seed = "1";
  std::uint64_t cases = 1000;
  unsigned jobs = 0;               ///< threads; 0: one a core
  std::string out;                 ///< the failure file; empty: a name in runs/
  std::chrono::seconds time{0};    ///< 0: no limit
  std::vector<std::string> kinds;  ///< of faults; empty: every kind
};
/// Random cases of one workload, until the first that fails.
Exit run_verb(const RunArguments& arguments, const Console& console);
/// Every single fault of one workload.
Exit exhaust_verb(const RunArguments& arguments, const Console& console);

struct ReplayArguments {
  std::string file;
  std::string trace;  ///< writes the trace there, for holdfast-report
};
Exit replay_verb(const ReplayArguments& arguments, const Console& console);

struct CampaignArguments {
  int ranks = 4;
  std::uint64_t seeds = 1000;
  std::string seed = "1";
  std::string input;  ///< a safetensors or layout file; empty: Llama-3.1-8B
  std::string out = "runs";
  unsigned jobs = 0;
  std::chrono::seconds time{8 * 60};
};
Exit campaign_verb(const CampaignArguments& arguments, const Console& console);

/// Threads for --jobs.
unsigned threads_of(unsigned jobs);

}  // namespace holdfast::sim::program
