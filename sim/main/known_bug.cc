#include "sim/main/known_bug.h"

#include <algorithm>

#include "properties/gen/layout_file.h"
#include "properties/museum/museum.h"
#include "properties/mutants/mutants.h"
#include "reports/json.h"
#include "sim/main/parallel.h"
#include "sim/main/subprocess.h"

namespace holdfast::sim::program {
namespace {

constexpr std::string_view planted = "segment_writer.delete_before_publish";
constexpr int exhibit_number = 29;
constexpr std::uint64_t cases = 1000;

ParallelOutcome small_campaign(const Job& job, std::uint64_t seed, unsigned threads, const Console& console) {
  ParallelOptions options;
  options.campaign.seed = seed;
  options.campaign.cases = cases;
  options.campaign.kinds = kinds_of(job);
  options.threads = threads;
  options.first_failure_only = true;
  options.title = describe(job);
  options.total = cases;
  return run_campaign(job, options, console);
}

/// Without the bug the same campaign must find nothing.
void check_healthy(const Job& job, std::uint64_t seed, unsigned threads, const Console& console, Caught& caught) {
  const ParallelOutcome outcome = small_campaign(job, seed, threads, console);
  caught.healthy = fmt::format("The same {} cases without the bug: {} fail.", outcome.totals.cases, outcome.totals.failed_cases);
  if (outcome.totals.failed_cases != 0 && caught.missed.empty()) {
    caught.missed = fmt::format("without it the same campaign fails too: {}", outcome.totals.failures.front().verdict.front().message);
  }
}

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The object that the program printed. Errors: unknown_outcome unless it ended with a bad verdict.
Result<Json> bad_verdict_of(std::vector<std::string> words) {
  words.insert(words.end(), {"--engine", to_string(default_engine())});
  const Ended ended = TRY(run_program(words));
  Json object = Json::parse(ended.output, nullptr, false);
  if (ended.exit == static_cast<int>(Exit::bad) && object.is_object()) return object;
  const std::string why = object.is_object() && object.contains("error") ? object["error"].value("message", "") : "no violation";
  return fail(ErrorCode::unknown_outcome, "{} {}: exit code {} ({}); expected 1", words[0], words[1], ended.exit, why);
}

/// Runs and replays in the mutant build; what it says of the replay comes back in `caught`.
Status catch_in_mutant_build(std::uint64_t seed, unsigned threads, const std::string& folder, Caught& caught) {
  const auto start = std::chrono::steady_clock::now();
  const std::string program = TRY(program_beside("holdfast-sim-mutants"));
  const std::string trace = folder + "/failures/planted-trace.json";
  TRY(bad_verdict_of({program, "run", "-q", "--json", "--mutant", std::string(planted), "--kinds", "kill_rank,power_loss", "--seed",
                      fmt::format("{}", seed), "--cases", fmt::format("{}", cases), "--jobs", fmt::format("{}", threads), "--out",
                      caught.file}));
  caught.seconds = since(start);
  const Json told = TRY(bad_verdict_of({program, "replay", caught.file, "-q", "--json", "--trace", trace}));
  const Json& story = told.at("story");
  caught.story = {story.at("beginning").get<std::string>(), story.at("events").get<std::vector<std::vector<std::string>>>(),
                  story.at("ending").get<std::string>()};
  caught.found = fmt::format("{} {}: {}", told.at("class").get<std::string>(), told.at("property").get<std::string>(),
                             told.at("message").get<std::string>());
  caught.record = TRY(reports::trace_from_json(TRY(properties::gen::read_text_file(trace))));
  return {};
}

Status catch_here(const Job& job, std::uint64_t seed, unsigned threads, const Console& console, Caught& caught) {
  const auto start = std::chrono::steady_clock::now();
  const ParallelOutcome outcome = small_campaign(job, seed, threads, console);
  if (outcome.totals.failures.empty()) return fail(ErrorCode::not_found, "{} cases found nothing", outcome.totals.cases);
  TRY(write_failure_file(caught.file, shrunk_failure(job, seed, outcome.totals.failures.front())));
  caught.seconds = since(start);
  const FailureFile failure = TRY(read_failure_file(caught.file));
  Retold told = retell(failure);
  if (!told.fails_alike || told.result.hash != failure.hash)
    return fail(ErrorCode::unknown_outcome, "replayed from its file it does not fail alike");
  caught.story = std::move(told.story);
  caught.record = std::move(told.record);
  caught.found =
      fmt::format("{} {}: {}", to_string(failure.signature.verdict_class), failure.signature.property, failure.signature.message);
  if (caught.invariants.find(failure.signature.property) == std::string::npos) {
    return fail(ErrorCode::not_found, "found {}, expected a violation of {}", caught.found, caught.invariants);
  }
  return {};
}

}  // namespace

Caught catch_planted_bug(std::uint64_t seed, unsigned threads, const std::string& folder, const Console& console) {
  const auto mutant = std::ranges::find(properties::mutants(), planted, &properties::Mutant::id);
  Caught caught;
  caught.title = fmt::format("planted bug {}", planted);
  caught.what = fmt::format("In the real protocol, {}.", mutant->what);
  caught.invariants = mutant->invariant;
  caught.file = folder + "/failures/planted.json";
  if (const Status status = catch_in_mutant_build(seed, threads, folder, caught); !status) caught.missed = status.error().message;
  const auto job = make_job({});
  if (job) check_healthy(*job, seed, threads, console, caught);
  return caught;
}

Caught catch_museum_bug(std::uint64_t seed, unsigned threads, const std::string& folder, const Console& console) {
  const properties::museum::Exhibit& exhibit = *properties::museum::find_exhibit(exhibit_number);
  Caught caught;
  caught.title = fmt::format("museum {}: {}", exhibit.number, exhibit.source);
  caught.what = exhibit.what;
  caught.invariants = exhibit.invariants;
  caught.file = fmt::format("{}/failures/museum-{}.json", folder, exhibit.number);
  JobRequest request;
  request.workload = fmt::format("museum-{}", exhibit.number);
  const auto faulty = make_job(request);
  const Status status = faulty ? catch_here(*faulty, seed, threads, console, caught) : Status(fail(faulty.error()));
  if (!status) caught.missed = status.error().message;
  request.workload += "-fixed";
  if (const auto fixed = make_job(request)) check_healthy(*fixed, seed, threads, console, caught);
  return caught;
}

}  // namespace holdfast::sim::program
