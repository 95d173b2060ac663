// S1-S5, S9 with two coordinators alive: a stopped job wakes up while, or after, another one takes over (workload/two_jobs.h).
#include "properties/workload/two_jobs.h"

#include "impl/core/mark.h"
#include "properties/property.h"
#include "sim/campaign.h"

namespace holdfast::properties {
namespace {

std::string describe(const sim::Case& test) {
  const sim::Stop& stop = test.scenario.stops.front();
  std::string text = fmt::format("old rank {} stops before its door call {} until call {} of rank {}, schedule seed {}", stop.at.rank,
                                 stop.at.ordinal, stop.until.ordinal, stop.until.rank, test.scenario.seed);
  for (const sim::Fault& fault : test.scenario.faults)
    text += fmt::format(", {} at door call {} of rank {}", to_string(fault.kind), fault.site.ordinal, fault.site.rank);
  if (test.power_loss_after) text += fmt::format(", power lost afterwards under {}", to_string(test.scenario.persistence));
  return text;
}

std::optional<std::string> first_violation(TwoJobs& workload, const sim::Case& test, const sim::Disk& prepared) {
  const sim::CaseResult result = sim::run_case(workload, test, prepared);
  if (result.verdict.empty()) return std::nullopt;
  return fmt::format("{}: {} ({})", result.verdict.front().property, result.verdict.front().message, describe(test));
}

/// How many door calls each rank makes when the new job begins after the old one has saved.
std::vector<std::uint32_t> calls_by_rank(TwoJobs& workload, const sim::Disk& prepared) {
  sim::Case test;
  test.scenario.random_latency = false;
  test.scenario.stops = workload.stops(Rank{0}, UINT32_MAX, Rank{0}, UINT32_MAX);
  return sim::run_case(workload, test, prepared).act.calls_by_rank;
}

TwoJobsOptions small_jobs() {
  TwoJobsOptions options;
  options.old_job.world_size = 2;
  options.old_job.tensors = {{"weight", DType::bf16, {4, 2}, ChunkLayout{0, {Rank{0}, Rank{1}}}, 0}};
  options.new_job = options.old_job;
  options.new_job.world_size = 1;
  options.new_job.tensors[0].layout = ReplicatedLayout{};
  options.block_bytes = 16;
  return options;
}

/// Two small jobs, and what comes of them when ranks stop.
struct SmallScope {
  explicit SmallScope(const TwoJobsOptions& options) : jobs(options), workload(options), prepared(workload.prepare()) {
    calls = calls_by_rank(workload, prepared);
  }

  /// Adds a case in which the old coordinator stops before its call `at` until the new job is about to make its call `until`; from then on the new job
  /// stops until the old coordinator is about to make its call `overtaken_to`, if there is one. False when something is violated.
  bool holds(std::uint32_t at, std::uint32_t until, std::optional<std::uint32_t> overtaken_to, gen::Outcome& outcome) {
    const Rank new_rank{jobs.old_job.world_size};
    sim::Case test;
    test.scenario.random_latency = false;
    test.scenario.stops = workload.stops(jobs.old_coordinator, at, Rank{0}, until);
    if (overtaken_to) test.scenario.stops.push_back({{new_rank, until}, {jobs.old_coordinator, *overtaken_to}});
    ++outcome.cases;
    const auto wrong = first_violation(workload, test, prepared);
    if (!wrong) return true;
    outcome.failure = *wrong;
    outcome.counterexample =
        fmt::format("keep_last {}, the new job saves step {}{}; {}", jobs.keep_last, jobs.new_step,
                    overtaken_to ? fmt::format(", and stops there until call {} of the old one", *overtaken_to) : "", show(jobs.old_job));
    return false;
  }

  TwoJobsOptions jobs;
  TwoJobs workload;
  sim::Disk prepared;
  std::vector<std::uint32_t> calls;
};

/// Every place where the old coordinator can stop, every moment of the new job at which it can go on; and of an old one that stopped at once, every moment
/// of the new job at which it can overtake that, and every place up to which it can.
/// From 1,000 cases on each of these; below that of each first choice every sixteenth second one, while the new job recovers every fourth, other ones for
/// another seed.
gen::Outcome exhaust_small_scope(World& /*world*/, const gen::DrawOptions& options) {
  gen::Outcome outcome;
  const std::uint32_t stride = options.cases < 1000 ? 16 : 1;
  const auto first = static_cast<std::uint32_t>(options.seed % stride);
  constexpr std::uint32_t recovery_calls = 40;
  for (const Step new_step : {Step{200}, Step{150}}) {
    for (const std::size_t keep_last : {std::size_t{1}, std::size_t{2}}) {
      TwoJobsOptions jobs = small_jobs();
      jobs.new_step = new_step;
      jobs.keep_last = keep_last;
      SmallScope scope(jobs);
      const std::uint32_t old_calls = scope.calls[0], new_calls = scope.calls[2];
      for (std::uint32_t at = 0; at < old_calls; ++at) {
        for (std::uint32_t until = 1 + (at + first) % stride; until <= new_calls; until += stride) {
          if (!scope.holds(at, until, std::nullopt, outcome)) return outcome;
        }
        // What must not be interrupted while the new job recovers is shorter than the stride.
        for (std::uint32_t until = 1 + (at + first) % 4; stride != 1 && until <= recovery_calls; until += 4) {
          if (!scope.holds(at, until, std::nullopt, outcome)) return outcome;
        }
      }
      // It makes more calls than alone, for it sweeps what the new job left: there a sample looks closer.
      const std::uint32_t begin = stride == 1 ? 1 : old_calls - 8, end = stride == 1 ? 2 * old_calls : old_calls + 24,
                          step = 1 + stride / 6;
      for (std::uint32_t until = 1; until <= new_calls; ++until) {
        for (std::uint32_t to = begin + (until + first) % step; to <= end; to += step) {
          if (!scope.holds(0, until, to, outcome)) return outcome;
        }
      }
    }
  }
  MARK("property.every_stop_of_the_old_coordinator");
  return outcome;
}

/// Any jobs, any rank that stops, any schedule; ranks may die, calls may come late, and power may be lost at the end.
gen::Outcome random_stops(World& /*world*/, const gen::DrawOptions& options) {
  return gen::for_all(options, [](const gen::DrawnCase& drawn) -> std::optional<std::string> {
    using enum sim::FaultKind;
    std::uint64_t state = drawn.seed;
    const auto below = [&](std::uint32_t n) {
      state = state * 0x9e3779b97f4a7c15u + 0x7f4a7c15u;
      return static_cast<std::uint32_t>((state >> 33) % n);
    };
    TwoJobsOptions jobs{.old_job = drawn.saved,
                        .new_job = drawn.loaded,
                        .old_coordinator = drawn.coordinator,
                        .new_coordinator = drawn.load_coordinator,
                        .new_step = std::array{Step{200}, Step{150}, Step{250}}[below(3)],
                        .keep_last = 1 + below(2),
                        .block_bytes = drawn.block_bytes};
    if (below(4) == 0) jobs.pause = std::chrono::seconds(60);
    TwoJobs workload(jobs);
    const sim::Disk prepared = workload.prepare();
    const std::vector<std::uint32_t> calls = calls_by_rank(workload, prepared);
    for (int story = 0; story < 4; ++story) {
      sim::Case test;
      test.scenario.seed = drawn.seed + static_cast<std::uint64_t>(story);
      const Rank stopped = below(2) == 0 ? drawn.coordinator : drawn.chosen.front();
      const Rank witness{static_cast<std::int32_t>(below(static_cast<std::uint32_t>(jobs.new_job.world_size)))};
      const std::uint32_t witness_calls = calls[static_cast<std::size_t>(jobs.old_job.world_size + witness.value)];
      test.scenario.stops =
          workload.stops(stopped, below(calls[static_cast<std::size_t>(stopped.value)]), witness, 1 + below(witness_calls));
      if (below(2) == 0) {
        const Rank hit{static_cast<std::int32_t>(below(static_cast<std::uint32_t>(jobs.old_job.world_size)))};
        const sim::FaultKind kind = std::array{kill_rank, error_after, delay, hang}[below(4)];
        test.scenario.faults = {
            {.site = {hit, below(calls[static_cast<std::size_t>(hit.value)])}, .kind = kind, .delay = std::chrono::milliseconds(5)}};
      }
      test.power_loss_after = below(2) == 0;
      test.scenario.persistence = static_cast<sim::PersistenceModel>(below(sim::persistence_models));
      if (auto wrong = first_violation(workload, test, prepared)) return wrong;
    }
    return std::nullopt;
  });
}

}  // namespace

std::vector<Property> two_jobs_properties() {
  return {
      {"zombie-exhaustive",
       "S1 S2 S3 S5 S9 L2 L4",
       "Wherever an old coordinator stops and goes on, the new job's checkpoints stay, whole and the newest.",
       {"sim"},
       exhaust_small_scope,
       {"property.every_stop_of_the_old_coordinator", "two_jobs.both_committed", "two_jobs.old_job_kept_out",
        "two_jobs.ended_with_the_old_jobs", "two_jobs.ended_with_the_new_jobs"}},
      {"zombie-random",
       "S1 S2 S3 S5 S7 S9 L2 L4",
       "Any old job that wakes up beside any new one, with losses and a crash, neither mixes, hides, overwrites nor removes its "
       "checkpoints.",
       {"sim"},
       random_stops,
       // That it ends with the old job's is rarer: of 100 cases now and then none does.
       {"two_jobs.both_committed", "two_jobs.old_job_kept_out", "two_jobs.ended_with_the_new_jobs"}},
  };
}

}  // namespace holdfast::properties
