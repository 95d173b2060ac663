#include <algorithm>
#include <thread>

#include "impl/core/mark.h"
#include "sim/main/failure_file.h"
#include "sim/main/verbs.h"
#include "sim/testing/arguments.h"

namespace holdfast::sim::program {
namespace {

std::string numbers(const ParallelOutcome& outcome, std::uint64_t seed) {
  const CampaignTotals& totals = outcome.totals;
  return fmt::format("cases={} events={} door_calls={} faults_fired={} seed={} hash={:016x}", totals.cases, totals.events,
                     totals.door_calls, totals.faults_fired, seed, totals.hash);
}

Json to_json(const Job& job, const ParallelOutcome& outcome, std::uint64_t seed) {
  const CampaignTotals& totals = outcome.totals;
  std::uint64_t enumerated = 0, fired = 0;
  for (const auto& [cell, count] : totals.coverage) {
    enumerated += count.enumerated;
    fired += count.fired;
  }
  return {{"workload", job.workload},
          {"layout", job.layout},
          {"mutant", job.mutant},
          {"build", build_id()},
          {"seed", seed},
          {"cases", totals.cases},
          {"failed_cases", totals.failed_cases},
          {"events", totals.events},
          {"door_calls", totals.door_calls},
          {"faults_enumerated", enumerated},
          {"faults_fired", fired},
          {"run_twice", totals.run_twice},
          {"hash", fmt::format("{:016x}", totals.hash)},
          {"engine", to_string(default_engine())},
          {"seconds", outcome.seconds},
          {"timed_out", outcome.timed_out},
          {"marks", mark_hits()}};
}

/// Shrinks and keeps the first failure.
Exit report_failure(const Job& job, const ParallelOutcome& outcome, std::uint64_t seed, std::string path, const Console& console) {
  if (path.empty()) path = fmt::format("runs/{}-{}.json", job.workload, seed);
  const FailureFile file = shrunk_failure(job, seed, outcome.totals.failures.front());
  if (const Status written = write_failure_file(path, file); !written) return console.give_up(written.error());
  console.note(fmt::format("{} {}: {}", to_string(file.signature.verdict_class), file.signature.property, file.signature.message));
  Json object = to_json(job, outcome, seed);
  object["failure"] = {{"class", to_string(file.signature.verdict_class)},
                       {"property", file.signature.property},
                       {"message", file.signature.message},
                       {"file", path}};
  return console.finish(Exit::bad, object, failure_line(file, path));
}

Exit run_cases(const RunArguments& arguments, Cases cases, const Console& console) {
  const auto seed = parse_seed(arguments.seed);
  if (!seed) return console.give_up(seed.error());
  const auto kinds = parse_kinds(arguments.kinds);
  if (!kinds) return console.give_up(kinds.error());
  const auto job = make_job(arguments.job);
  if (!job) return console.give_up(job.error());
  ParallelOptions options;
  options.cases = cases;
  options.campaign.seed = *seed;
  options.campaign.cases = arguments.cases;
  options.campaign.kinds = kinds->empty() ? kinds_of(*job) : *kinds;
  constexpr std::uint64_t twice_every = 50;
  options.campaign.twice_every = twice_every;
  options.threads = threads_of(arguments.jobs);
  options.first_failure_only = true;
  options.title = describe(*job);
  options.total = cases == Cases::random ? arguments.cases : count_single_faults(*job, options.campaign.kinds);
  if (arguments.time.count() > 0) options.end = std::chrono::steady_clock::now() + arguments.time;
  console.note(fmt::format("holdfast sim {}: {}, {} cases, {} threads, seed {}, build {}", console.verb, options.title, options.total,
                           options.threads, *seed, build_id()));
  const ParallelOutcome outcome = run_campaign(*job, options, console);
  if (!outcome.totals.failures.empty()) return report_failure(*job, outcome, *seed, arguments.out, console);
  const Json object = to_json(*job, outcome, *seed);
  if (outcome.totals.cases == 0) return console.finish(Exit::no_verdict, object, "NONE nothing was checked in the time given");
  std::string line = fmt::format("PASS workload={} {}", job->workload, numbers(outcome, *seed));
  if (outcome.timed_out) line += fmt::format(" time is up: {} of {} cases", outcome.totals.cases, options.total);
  return console.finish(Exit::good, object, line);
}

}  // namespace

unsigned threads_of(unsigned jobs) { return jobs != 0 ? jobs : std::max(1u, std::thread::hardware_concurrency()); }

Exit run_verb(const RunArguments& arguments, const Console& console) { return run_cases(arguments, Cases::random, console); }

Exit exhaust_verb(const RunArguments& arguments, const Console& console) {
  return run_cases(arguments, Cases::every_single_fault, console);
}

}  // namespace holdfast::sim::program
