#include <filesystem>

#include "reports/html.h"
#include "reports/json.h"
#include "reports/publish.h"
#include "sim/main/campaign_report.h"
#include "sim/main/verbs.h"
#include "sim/testing/arguments.h"

namespace holdfast::sim::program {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t twice_every = 50;
constexpr std::size_t failures_shrunk_max = 5;

std::string command_of(const CampaignArguments& arguments, std::uint64_t seed) {
  std::string text = fmt::format("holdfast sim campaign --ranks {} --seeds {} --seed {} --time {}s", arguments.ranks, arguments.seeds, seed,
                                 arguments.time.count());
  if (!arguments.input.empty()) text += " --input " + arguments.input;
  if (default_engine() != EngineKind::fiber) text += fmt::format(" --engine {}", to_string(default_engine()));
  return text;
}

class Campaign {
 public:
  Campaign(const CampaignArguments& arguments, const Console& console, std::uint64_t seed, Job job)
      : arguments_(arguments), console_(console), seed_(seed), job_(std::move(job)), threads_(threads_of(arguments.jobs)),
        start_(Clock::now()) {
    folder_ = fmt::format("{}/campaign/{}-{}", arguments.out, reports::utc("%Y%m%dT%H%M%SZ"), seed);
    report_.name = fmt::format("Holdfast campaign, {} on {} ranks", job_.layout.substr(job_.layout.rfind('/') + 1), job_.spec.world_size);
    report_.seed = fmt::format("{}", seed);
    report_.command = command_of(arguments, seed);
    report_.started = reports::utc("%Y-%m-%d %H:%M:%S UTC");
    report_.machine = reports::machine();
  }

  Exit run() {
    console_.note(fmt::format("{}\nbuild {}, {} threads", report_.command, build_id(), threads_));
    known_bugs();
    random_cases();
    every_single_fault();
    if (const Status kept = keep_failures(); !kept) return console_.give_up(kept.error());
    if (const Status written = write_report(); !written) return console_.give_up(written.error());
    return finish();
  }

 private:
  void known_bugs() {
    console_.note("first act: two bugs that are known to be there");
    for (const auto catch_bug : {catch_planted_bug, catch_museum_bug}) {
      bugs_.push_back(catch_bug(seed_, threads_, folder_, console_));
      const Caught& bug = bugs_.back();
      if (bug.missed.empty()) {
        console_.note(fmt::format("caught in {:.2f} s, {}\n  {}\n{}  {}\n  replay: holdfast sim replay {}", bug.seconds, bug.title,
                                  bug.found, to_string(bug.story), bug.healthy, bug.file));
      } else {
        console_.note(fmt::format("NOT CAUGHT, {}: {}", bug.title, bug.missed));
      }
    }
    for (const Caught& bug : bugs_) report_.acts.push_back(act_of(bug));
    console_.note(fmt::format("first act over after {:.1f} s", elapsed()));
  }

  void random_cases() {
    ParallelOptions options = options_of("random faults, schedules and crashes", arguments_.seeds);
    options.campaign.cases = arguments_.seeds;
    add_pass(options);
  }

  void every_single_fault() {
    // The next save after recovery is the random cases' business: here it would double the time.
    Job job = job_;
    job.save_again = false;
    ParallelOptions options = options_of("every single fault at every door call", count_single_faults(job, {}));
    options.cases = Cases::every_single_fault;
    std::swap(job, job_);
    add_pass(options);
    std::swap(job, job_);
  }

  ParallelOptions options_of(std::string title, std::uint64_t total) const {
    ParallelOptions options;
    options.campaign.seed = seed_;
    options.campaign.twice_every = twice_every;
    options.threads = threads_;
    options.end = start_ + arguments_.time;
    options.title = std::move(title);
    options.total = total;
    return options;
  }

  void add_pass(const ParallelOptions& options) {
    console_.note(fmt::format("second act, {}: {} cases on {} tensors, {} ranks", options.title, options.total, job_.spec.tensors.size(),
                              job_.spec.world_size));
    Pass pass{options.title, options.cases, options.total, run_campaign(job_, options, console_)};
    const FaultSums sums = sums_of(pass.outcome.totals);
    console_.note(
        fmt::format("{}: {} of {} cases in {:.1f} s, faults enumerated {}, fired {}, consequential {}, detected {}; {} cases fail",
                    pass.title, pass.outcome.totals.cases, pass.planned, pass.outcome.seconds, sums.enumerated, sums.fired,
                    sums.consequential, sums.detected, pass.outcome.totals.failed_cases));
    if (options.cases == Cases::every_single_fault && sums.enumerated != sums.fired) {
      report_.failures.push_back({"harness",
                                  "enumerated = fired",
                                  fmt::format("{} faults were enumerated, {} fired", sums.enumerated, sums.fired),
                                  report_.seed,
                                  report_.command,
                                  0,
                                  0,
                                  {}});
    }
    jobs_.push_back(job_);
    passes_.push_back(std::move(pass));
  }

  /// The first failures of each pass, shrunk, as files and pictures.
  Status keep_failures() {
    for (std::size_t p = 0; p < passes_.size(); ++p) {
      std::size_t number = 0;
      for (const Failure& failure : passes_[p].outcome.totals.failures) {
        if (++number > failures_shrunk_max) break;
        const std::string path =
            fmt::format("{}/failures/{}-{}.json", folder_, passes_[p].cases == Cases::random ? "random" : "single", number);
        const FailureFile file = shrunk_failure(jobs_[p], seed_, failure);
        TRY(write_failure_file(path, file));
        report_.failures.push_back(failure_of(file, path));
        console_.note(failure_line(file, path));
      }
    }
    return {};
  }

  Status write_report() {
    std::string plan_svg;
    if (auto svg = save_plan_svg(job_)) {
      plan_svg = std::move(*svg);
    } else {
      console_.note(fmt::format("no picture of the save plan: {}", svg.error()));
    }
    report_.acts.push_back(act_of(job_, passes_, plan_svg));
    const CampaignTotals totals = totals_of(passes_);
    report_.counts = counts_of(totals);
    report_.coverage = coverage_of(totals);
    report_.marks = marks_so_far();
    report_.duration_s = elapsed();
    TRY(reports::write_text_file(folder_ + "/report.html", reports::html_report(report_)));
    TRY(reports::write_text_file(folder_ + "/report.json", reports::to_json(report_)));
    const std::filesystem::path latest = std::filesystem::path(arguments_.out) / "campaign" / "latest";
    std::error_code failed;
    std::filesystem::remove(latest, failed);
    if (!failed) std::filesystem::create_directory_symlink(std::filesystem::path(folder_).filename(), latest, failed);
    if (failed) return fail(ErrorCode::io_error, "link \"{}\": {}", latest.string(), failed.message());
    return {};
  }

  Exit finish() const {
    const auto verdict = reports::verdict_of(report_);
    Json object{{"report", folder_ + "/report.html"},
                {"report_json", folder_ + "/report.json"},
                {"seed", seed_},
                {"seconds", report_.duration_s},
                {"build", build_id()}};
    for (const Caught& bug : bugs_) {
      object["known_bugs"].push_back({{"bug", bug.title},
                                      {"caught", bug.missed.empty()},
                                      {"found", bug.found},
                                      {"missed", bug.missed},
                                      {"seconds", bug.seconds},
                                      {"file", bug.file}});
    }
    for (const Pass& pass : passes_) {
      const FaultSums sums = sums_of(pass.outcome.totals);
      object["passes"].push_back({{"title", pass.title},
                                  {"cases", pass.outcome.totals.cases},
                                  {"planned", pass.planned},
                                  {"failed", pass.outcome.totals.failed_cases},
                                  {"faults_enumerated", sums.enumerated},
                                  {"faults_fired", sums.fired},
                                  {"seconds", pass.outcome.seconds},
                                  {"hash", fmt::format("{:016x}", pass.outcome.totals.hash)}});
    }
    if (!console_.json) fmt::print("report: {}/report.html\n", folder_);
    const Exit exit = verdict == reports::ReportVerdict::good  ? Exit::good
                      : verdict == reports::ReportVerdict::bad ? Exit::bad
                                                               : Exit::no_verdict;
    return console_.finish(exit, object, last_line());
  }

  std::string last_line() const {
    for (const Caught& bug : bugs_) {
      if (!bug.missed.empty()) return fmt::format("FAIL class=harness: {} was not caught: {}", bug.title, bug.missed).substr(0, 200);
    }
    if (!report_.failures.empty()) return reports::last_line(report_);
    std::uint64_t cases = 0, planned = 0;
    for (const Pass& pass : passes_) {
      cases += pass.outcome.totals.cases;
      planned += pass.planned;
    }
    return fmt::format("PASS both known bugs caught; {} of {} cases{}, {} faults fired, no violation found; seed {}, {:.0f} s", cases,
                       planned, cases < planned ? " before time was up" : "", report_.counts.faults_fired, seed_, report_.duration_s);
  }

  double elapsed() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  const CampaignArguments& arguments_;
  const Console& console_;
  std::uint64_t seed_;
  Job job_;
  unsigned threads_;
  Clock::time_point start_;
  std::string folder_;
  std::vector<Caught> bugs_;
  std::vector<Job> jobs_;  ///< of each pass
  std::vector<Pass> passes_;
  reports::CampaignReport report_;
};

}  // namespace

Exit campaign_verb(const CampaignArguments& arguments, const Console& console) {
  const auto seed = parse_seed(arguments.seed);
  if (!seed) return console.give_up(seed.error());
  JobRequest request;
  request.layout = arguments.input.empty() ? default_layout() : arguments.input;
  request.ranks = arguments.ranks;
  auto job = make_job(request);
  if (!job) return console.give_up(job.error());
  return Campaign(arguments, console, *seed, std::move(*job)).run();
}

}  // namespace holdfast::sim::program
