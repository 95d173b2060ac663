#include "sim/testing/campaign_program.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <optional>
#include <set>

#include "reports/publish.h"
#include "reports/text.h"
#include "sim/campaign.h"
#include "sim/shrink.h"
#include "sim/testing/arguments.h"
#include "sim/testing/story.h"
#include "sim/testing/totals.h"

namespace holdfast::sim {
namespace {

enum Exit : int { good = 0, bad = 1, no_verdict = 2 };

constexpr std::uint64_t twice_every = 50;
constexpr std::size_t failures_told_max = 5;
constexpr auto progress_interval = std::chrono::seconds(10);

struct Arguments {
  std::string program;
  std::string workload;
  std::string seed = "1";
  std::uint64_t cases = 1000;
  bool exhaust = false;
  std::vector<std::string> kinds = {"error_before", "error_after", "delay", "hang", "kill_rank", "power_loss"};
  std::optional<std::uint64_t> only;
  reports::Publication publication;
};

class CampaignProgram {
 public:
  using Clock = std::chrono::steady_clock;

  CampaignProgram(Workload& workload, const Arguments& arguments, std::uint64_t seed, std::vector<FaultKind> kinds)
      : workload_(workload), arguments_(arguments), seed_(seed), kinds_(std::move(kinds)), start_(Clock::now()) {
    command_ = fmt::format("{} {}", arguments.program, workload.name());
    if (arguments.exhaust) command_ += " --exhaust";
    if (!arguments.exhaust && arguments.cases != Arguments().cases) command_ += fmt::format(" --cases {}", arguments.cases);
    if (arguments.kinds != Arguments().kinds) command_ += fmt::format(" --kinds {}", fmt::join(arguments.kinds, ","));
    command_ += fmt::format(" --seed {}", seed);
  }

  int run() {
    fmt::print(stderr, "{}\n", command_);
    const CampaignTotals totals = campaign();
    if (totals.cases == 0) {
      fmt::print(stderr, "{}: there is no case {}\n", arguments_.program, arguments_.only.value_or(0));
      return no_verdict;
    }
    tell_failures(totals);
    complete(totals);
    const reports::ReportVerdict verdict = verdict_of(report_);
    std::vector<reports::JunitCase> cases = junit_cases(report_);
    cases.front().seconds = report_.duration_s;
    const Status published = publish(report_, cases, arguments_.publication);
    if (!published) fmt::print(stderr, "{}: {}\n", arguments_.program, published.error().message);
    fmt::print("{}\n", last_line(report_));
    if (verdict == reports::ReportVerdict::bad) return bad;
    return published && std::fflush(stdout) == 0 ? good : no_verdict;
  }

 private:
  CampaignTotals campaign() {
    CampaignOptions options;
    options.seed = seed_;
    options.cases = arguments_.cases;
    options.kinds = kinds_;
    options.twice_every = twice_every;
    options.failures_max = std::numeric_limits<std::size_t>::max();
    if (arguments_.only) {
      options.part = *arguments_.only;
      options.parts = std::uint64_t{1} << 62;  // more than any campaign has cases
    }
    auto next = start_ + progress_interval;
    options.progress = [&](const CampaignTotals& totals) {
      if (Clock::now() < next) return;
      next = Clock::now() + progress_interval;
      fmt::print(stderr, "{}: {} cases, {} failed\n", workload_.name(), totals.cases, totals.failed_cases);
    };
    return arguments_.exhaust ? exhaust_single_faults(workload_, options) : random_campaign(workload_, options);
  }

  /// The first failure of each property.
  void tell_failures(const CampaignTotals& totals) {
    const Disk prepared = workload_.prepare();
    std::set<std::string> told;
    for (const Failure& failure : totals.failures) {
      const std::string& property = failure.verdict.front().property;
      if (told.size() == failures_told_max || !told.insert(property).second) continue;
      report_.failures.push_back(tell_one(failure, prepared));
    }
  }

  reports::ReportFailure tell_one(const Failure& failure, const Disk& prepared) const {
    const Violation& violation = failure.verdict.front();
    const Shrunk shrunk = shrink(failure.test, fails_alike(workload_, prepared, violation.property));
    Case test = shrunk.test;
    test.scenario.record_events = true;
    const CaseResult result = run_case(workload_, test, prepared);
    std::string story = to_string(tell(workload_.name(), shrunk.test, result));
    if (!shrunk.failed_again) story += "It failed once and passes when it is run again: the routine is not deterministic.\n";
    const std::string replay = fmt::format("{} --case {}", command_, failure.index);
    fmt::print("{} {} in case {}: {}\n{}Shrunk from {}. Replay: {}\n\n", to_string(violation.verdict_class), violation.property,
               failure.index, violation.message, story, reports::counted(shrunk.decisions_before, "choice"), replay);
    return {to_string(violation.verdict_class),
            violation.property,
            violation.message + "\n" + story,
            fmt::format("{}", seed_),
            replay,
            shrunk.decisions_before,
            shrunk.decisions_after,
            {}};
  }

  void complete(const CampaignTotals& totals) {
    report_.name = workload_.name();
    report_.seed = fmt::format("{}", seed_);
    report_.command = command_;
    report_.started = reports::utc("%Y-%m-%d %H:%M:%S UTC");
    report_.duration_s = std::chrono::duration<double>(Clock::now() - start_).count();
    report_.machine = reports::machine();
    report_.counts = counts_of(totals);
    report_.coverage = coverage_of(totals);
    const bool passed = totals.failed_cases == 0;
    reports::ReportAct act;
    act.title = arguments_.exhaust ? "every single fault at every door call" : "random faults, schedules and crashes";
    act.verdict = passed ? reports::ReportVerdict::good : reports::ReportVerdict::bad;
    act.text = fmt::format("{}, {} failed; seed {}", reports::counted(totals.cases, "case"), totals.failed_cases, seed_);
    report_.acts.push_back(std::move(act));
  }

  Workload& workload_;
  const Arguments& arguments_;
  std::uint64_t seed_;
  std::vector<FaultKind> kinds_;
  Clock::time_point start_;
  std::string command_;  ///< that runs the whole campaign again
  reports::CampaignReport report_;
};

void declare(CLI::App& app, Arguments& arguments, const std::vector<std::string>& names) {
  CLI::Option* const workload = app.add_option("WORKLOAD", arguments.workload, fmt::format("One of: {}", fmt::join(names, ", ")));
  workload->check(CLI::IsMember(names));
  if (names.size() == 1) {
    arguments.workload = names.front();
  } else {
    workload->required();
  }
  app.add_option("--seed", arguments.seed, "Of everything that is drawn: decimal, 0x-hex or a commit id")
      ->envname("HOLDFAST_SEED")
      ->capture_default_str();
  app.add_option("--cases", arguments.cases, "Random cases")->capture_default_str()->check(CLI::Range(1, 1'000'000'000));
  app.add_flag("--exhaust", arguments.exhaust, "Instead of random cases every kind of fault at every door call, one at a time");
  app.add_option("--kinds", arguments.kinds,
                 "Only these faults: error_before, error_after, delay, hang, kill_rank, power_loss, bit_flip (default: all but bit_flip)")
      ->delimiter(',');
  app.add_option("--case", arguments.only, "Only the case of this number");
  app.add_option("--junit", arguments.publication.junit, "Write JUnit XML there");
  app.add_option("--summary", arguments.publication.summary, "Write a summary in Markdown there");
  app.footer("\nExit codes: 0 no violation found; 1 a violation; 2 no verdict.");
}

int give_up(const std::string& program, const Error& error) {
  fmt::print(stderr, "{}: {}\n", program, error.message);
  return no_verdict;
}

}  // namespace

int campaign_main(int argc, char** argv, const std::vector<std::shared_ptr<Workload>>& workloads) {
  std::vector<std::string> names;
  for (const auto& workload : workloads) names.push_back(workload->name());
  Arguments arguments;
  arguments.program = argv[0];
  CLI::App app("Puts a save routine under faults in Holdfast's simulator.");
  declare(app, arguments, names);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? good : no_verdict;
  }
  const auto seed = parse_seed(arguments.seed);
  if (!seed) return give_up(arguments.program, seed.error());
  auto kinds = parse_kinds(arguments.kinds);
  if (!kinds) return give_up(arguments.program, kinds.error());
  const auto chosen = std::ranges::find(names, arguments.workload) - names.begin();
  return CampaignProgram(*workloads[static_cast<std::size_t>(chosen)], arguments, *seed, *std::move(kinds)).run();
}

}  // namespace holdfast::sim
