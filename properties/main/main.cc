// holdfast-validate: runs the catalogue of properties in a world. The mutant build also proves that the properties can fail.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "properties/compare_engines.h"
#include "properties/main/parity.h"
#include "properties/main/worlds.h"
#include "properties/mutants/mutants.h"
#include "properties/preflight/preflight.h"
#include "properties/property.h"
#include "reports/publish.h"
#include "sim/engine_thread.h"

namespace {

using namespace holdfast;
using namespace holdfast::properties;

struct Arguments {
  std::string world = "sim";
  std::string property;
  gen::DrawOptions draw;
  bool list = false;
  bool json = false;
  bool mutants = false;
  int processes = 0;
  std::string folder;
  bool preflight_only = false;
  std::string engine;  ///< empty: fiber, and not said
  bool compare_engines = false;
  std::string mutant;
  reports::Publication publication;
  ParityArguments parity;
};

enum class Exit : int { good = 0, bad = 1, no_verdict = 2 };

struct Report {
  std::uint64_t passed = 0, failed = 0, skipped = 0, cases = 0;
  EnginesCompared engines;
  std::string cause;
  nlohmann::json rows = nlohmann::json::array(), preflight = nlohmann::json::array();
  reports::CampaignReport page;
  std::vector<reports::JunitCase> junit;
};

bool runs_in(const Property& property, const std::string& world) {
  return std::ranges::find(property.worlds, world) != property.worlds.end();
}

/// What one draw leaves to chance, that a mark is reached or a mutant is caught, is missed only when so many draws miss it.
constexpr std::uint64_t draws_max = 4;

/// The draw after `draws` others.
gen::DrawOptions another(gen::DrawOptions draw, std::uint64_t draws) {
  draw.seed += draws * 0x9e3779b97f4a7c15;
  return draw;
}

/// A check that passed without reaching its marks has shown nothing.
std::string missed_mark(const Property& property, const std::map<std::string, std::uint64_t>& before) {
  const auto after = mark_hits();
  for (const std::string& mark : property.marks) {
    const auto hits = [&](const auto& marks) { return marks.contains(mark) ? marks.at(mark) : 0; };
    if (hits(after) == hits(before)) return mark;
  }
  return {};
}

/// Checks on until every mark was reached.
gen::Outcome check_to_marks(const Property& property, const gen::DrawOptions& draw,
                            const std::function<gen::Outcome(const gen::DrawOptions&)>& check) {
  const auto before = mark_hits();
  gen::Outcome outcome = check(draw);
  std::string missed = missed_mark(property, before);
  for (std::uint64_t draws = 1; outcome.failure.empty() && !missed.empty() && draws < draws_max; ++draws) {
    gen::Outcome more = check(another(draw, draws));
    more.cases += outcome.cases;
    outcome = std::move(more);
    missed = missed_mark(property, before);
  }
  if (outcome.failure.empty() && !missed.empty())
    outcome.failure = fmt::format("NOT EXERCISED: the mark {} was not reached in {} draws", missed, draws_max);
  return outcome;
}

std::string replay_command(const Property& property, const Arguments& arguments) {
  const std::string program = arguments.mutant.empty() ? "holdfast-validate" : "holdfast-validate-mutants --mutant " + arguments.mutant;
  std::string ranks;
  if (arguments.draw.ranks_max != gen::DrawOptions().ranks_max) ranks = fmt::format(" --ranks {}", arguments.draw.ranks_max);
  if (arguments.processes > 0) ranks += fmt::format(" --processes {}", arguments.processes);
  return fmt::format("{} --world {} --property {} --cases {} --seed {}{}", program, arguments.world, property.id, arguments.draw.cases,
                     arguments.draw.seed, ranks);
}

std::string title_of(const Property& property) { return fmt::format("{} [{}]", property.id, property.invariants); }

/// One property for continuous integration; `seconds` only of one that ran.
void add_to_reports(const Property& property, const gen::Outcome& outcome, double seconds, const Arguments& arguments, Report& report) {
  const bool passed = outcome.failure.empty();
  const std::string suite = "holdfast-validate." + arguments.world;
  report.page.acts.push_back({title_of(property),
                              passed ? reports::ReportVerdict::good : reports::ReportVerdict::bad,
                              fmt::format("{} cases. {}", outcome.cases, property.statement),
                              {},
                              {}});
  if (passed) {
    report.junit.push_back({suite, property.id, seconds, reports::JunitOutcome::passed, "", ""});
    return;
  }
  const std::string replay = replay_command(property, arguments);
  report.junit.push_back(
      {suite, property.id, seconds, reports::JunitOutcome::failed, outcome.failure,
       fmt::format("{}\n{}\nin the case\n{}\nreplay: {}", property.statement, outcome.failure, outcome.counterexample, replay)});
  report.page.failures.push_back({"property", property.id, outcome.failure, fmt::format("{}", arguments.draw.seed), replay, 0, 0, {}});
}

/// The reports that were asked for. Errors: as reports::publish.
Status publish(Report& report, const Arguments& arguments, double seconds) {
  reports::CampaignReport& page = report.page;
  page.name = fmt::format("Holdfast's properties in world {}", arguments.world);
  page.seed = fmt::format("{}", arguments.draw.seed);
  page.command =
      fmt::format("holdfast-validate --world {} --cases {} --seed {}", arguments.world, arguments.draw.cases, arguments.draw.seed);
  page.started = reports::utc("%Y-%m-%d %H:%M:%S UTC");
  page.duration_s = seconds;
  page.machine = reports::machine();
  page.counts.runs = report.cases;
  return reports::publish(page, report.junit, arguments.publication);
}

void run_property(const Property& property, World& world, const Arguments& arguments, Report& report) {
  const auto start = std::chrono::steady_clock::now();
  EnginesCompared engines;
  const auto check = [&](const gen::DrawOptions& draw) {
    return arguments.compare_engines ? check_on_both_engines(property, world, draw, engines) : property.check(world, draw);
  };
  const bool wants_marks = arguments.draw.cases >= 100 && world.ranks_max() >= ranks_for_marks;
  const gen::Outcome outcome = wants_marks ? check_to_marks(property, arguments.draw, check) : check(arguments.draw);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const bool passed = outcome.failure.empty();
  (passed ? report.passed : report.failed) += 1;
  report.cases += outcome.cases;
  report.engines.runs += engines.runs;
  report.engines.events += engines.events;
  report.rows.push_back({{"property", property.id},
                         {"world", arguments.world},
                         {"passed", passed},
                         {"cases", outcome.cases},
                         {"seconds", seconds},
                         {"runs_compared", engines.runs},
                         {"counted", outcome.counted},
                         {"failure", outcome.failure},
                         {"counterexample", outcome.counterexample}});
  add_to_reports(property, outcome, seconds, arguments, report);
  if (!arguments.json) fmt::print("{} {:18} {:7} cases {:8.2f} s\n", passed ? "ok  " : "FAIL", property.id, outcome.cases, seconds);
  if (!outcome.counted.empty() && !arguments.json) fmt::print("     {}\n", outcome.counted);
  if (!passed && !arguments.json) fmt::print("     {}\n     in the case\n{}\n", outcome.failure, outcome.counterexample);
  std::fflush(stdout);
  if (!passed && report.cause.empty()) {
    report.cause = fmt::format("FAIL world={} prop={} {:.90} | {}", arguments.world, property.id, outcome.failure,
                               replay_command(property, arguments));
  }
}

std::string why_skipped(const Property& property, const std::string& world) {
  if (runs_in(property, world)) return fmt::format("needs {} ranks", property.ranks_min);
  return std::string(runs_in(property, "threads") ? "keeps its tensors in host memory" : property.why_not_elsewhere);
}

void skip_property(const Property& property, const Arguments& arguments, Report& report) {
  ++report.skipped;
  const std::string reason = why_skipped(property, arguments.world);
  report.rows.push_back({{"property", property.id}, {"world", arguments.world}, {"skipped", reason}});
  report.junit.push_back({"holdfast-validate." + arguments.world, property.id, 0, reports::JunitOutcome::skipped, reason, ""});
  report.page.acts.push_back({title_of(property), reports::ReportVerdict::none, "skipped: " + reason, {}, {}});
  if (!arguments.json) fmt::print("skip {:18} {}\n", property.id, reason);
}

int ranks_of(const World& world, const Arguments& arguments) { return std::min(world.ranks_max(), arguments.draw.ranks_max); }

/// Where ranks come from a launcher, what they stand on is theirs and not ours. False when it does not hold.
bool try_surroundings(World& world, const Arguments& arguments, Report& report) {
  // All ranks of a launcher's, whatever the properties draw.
  const int ranks_tried = world.needs_preflight() ? world.ranks_max() : ranks_of(world, arguments);
  const std::vector<PreflightRow> rows = preflight(world, ranks_tried);
  const auto failed = std::ranges::find(rows, false, &PreflightRow::passed);
  const bool passed = failed == rows.end();
  reports::ReportTable ranks{"Ranks", {"rank", "runs on"}, {}};
  for (const std::string& machine : world.machines()) {
    if (!arguments.json) fmt::print("rank {}: {}\n", ranks.rows.size(), machine);
    ranks.rows.push_back({fmt::format("{}", ranks.rows.size()), machine});
  }
  std::string text;
  reports::ReportTable table{"Steps", {"step", "", "found"}, {}};
  for (const PreflightRow& row : rows) {
    const char* const verdict = row.passed ? "ok" : "FAIL";
    if (!arguments.json) fmt::print("{:4} preflight: {:22} {}\n", verdict, row.step, row.found);
    report.preflight.push_back({{"step", row.step}, {"passed", row.passed}, {"found", row.found}});
    report.junit.push_back({"holdfast-validate." + arguments.world, "preflight: " + row.step, 0,
                            row.passed ? reports::JunitOutcome::passed : reports::JunitOutcome::failed, row.found, ""});
    table.rows.push_back({row.step, verdict, row.found});
    text += fmt::format("{}{}: {}.", text.empty() ? "" : " ", row.step, row.found);
  }
  if (!passed) report.cause = fmt::format("FAIL world={} preflight step \"{}\": {}", arguments.world, failed->step, failed->found);
  report.page.acts.push_back({"Preflight", passed ? reports::ReportVerdict::good : reports::ReportVerdict::bad, text, {}, {ranks, table}});
  return passed;
}

Exit run_catalogue(World& world, const Arguments& arguments) {
  const auto start = std::chrono::steady_clock::now();
  Report report;
  const bool asked = world.needs_preflight() || arguments.preflight_only;
  const bool stands = !asked || try_surroundings(world, arguments, report);
  const bool checks = stands && !arguments.preflight_only;
  bool known = arguments.property.empty();
  for (const Property& property : catalogue()) {
    if (!arguments.property.empty() && arguments.property != property.id) continue;
    known = true;
    if (!checks) break;
    if (runs_in(property, arguments.world) && property.ranks_min <= world.ranks_max()) {
      run_property(property, world, arguments, report);
    } else {
      skip_property(property, arguments, report);
    }
  }
  if (!known) {
    fmt::print(stderr, "holdfast-validate: property \"{}\": there is none of that name; --list shows them\n", arguments.property);
    return Exit::no_verdict;
  }
  if (arguments.json)
    fmt::print("{}\n", nlohmann::json{{"holdfast", 1},
                                      {"validate", report.rows},
                                      {"seed", arguments.draw.seed},
                                      {"marks", mark_hits()},
                                      {"machines", world.machines()},
                                      {"preflight", report.preflight}}
                           .dump());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const Status published = world.tells() ? publish(report, arguments, seconds) : Status();
  if (!published) fmt::print(stderr, "holdfast-validate: {}\n", published.error().message);
  if (report.failed != 0 || !stands) {
    fmt::print(arguments.json ? stderr : stdout, "{}\n", report.cause);
    return Exit::bad;
  }
  if (!checks) {
    fmt::print(arguments.json ? stderr : stdout, "PASS world={} preflight of {} ranks: {} steps\n", arguments.world,
               ranks_of(world, arguments), report.preflight.size());
    return published ? Exit::good : Exit::no_verdict;
  }
  if (report.passed == 0) {
    fmt::print(stderr, "holdfast-validate: nothing was checked: {} properties skipped\n", report.skipped);
    return Exit::no_verdict;
  }
  std::string engines;
  if (arguments.compare_engines) {
    engines = fmt::format("; {} runs, {} events, the same on fibres and threads", report.engines.runs, report.engines.events);
    if (report.engines.runs == 0) {
      fmt::print(stderr, "holdfast-validate: no run was compared: nothing of this used the simulator\n");
      return Exit::no_verdict;
    }
  }
  fmt::print(arguments.json ? stderr : stdout, "PASS world={} properties={} skipped={} cases={} seed={}: no violation found{}\n",
             arguments.world, report.passed, report.skipped, report.cases, arguments.draw.seed, engines);
  return published ? Exit::good : Exit::no_verdict;
}

void list_properties() {
  for (const Property& property : catalogue()) {
    fmt::print("{:18} [{}] in {}\n    {}\n", property.id, property.invariants, fmt::join(property.worlds, ", "), property.statement);
  }
}

#ifdef HOLDFAST_MUTANTS
/// Every mutant must make its property fail; with none active each of those properties must hold.
Exit kill_mutants(World& world, const Arguments& arguments) {
  gen::DrawOptions draw = arguments.draw;
  draw.shrink =
      false;  // that a mutant is caught is all that is asked; where it makes ranks wait, each smaller case would take their deadlines again
  std::size_t killed = 0, tried = 0;
  std::map<std::pair<std::string, std::uint64_t>, gen::Outcome> without;  // how each property does in each draw when no mutant is active
  std::string cause;
  const auto property_of = [](std::string_view id) {
    return *std::ranges::find_if(catalogue(), [&](const Property& property) { return property.id == id; });
  };
  for (const Mutant& mutant : properties::mutants()) {
    if (std::ranges::find(mutant.worlds, arguments.world) == mutant.worlds.end()) continue;
    ++tried;
    const Property property = property_of(mutant.property);
    gen::Outcome healthy, sick;
    std::uint64_t draws = 0;
    while (healthy.failure.empty() && sick.failure.empty() && draws < draws_max) {
      const gen::DrawOptions drawn = another(draw, draws++);
      const auto [known, first] = without.try_emplace({property.id, drawn.seed});
      if (first) known->second = property.check(world, drawn);
      healthy = known->second;
      holdfast::mutants::activate(mutant.id);
      sick = property.check(world, drawn);
      holdfast::mutants::activate("");
    }
    const bool dies = healthy.failure.empty() && !sick.failure.empty();
    killed += dies;
    fmt::print("{} {:38} {:3} {:18} {}{}\n     {}\n", dies ? "dead " : "ALIVE", mutant.id, mutant.invariant, mutant.property, mutant.what,
               draws > 1 ? fmt::format(" ({} draws)", draws) : "",
               !healthy.failure.empty() ? "the property fails without it: " + healthy.failure : sick.failure);
    std::fflush(stdout);
    if (!dies && cause.empty()) cause = fmt::format("FAIL mutant={} is not caught by {}", mutant.id, mutant.property);
  }
  if (!cause.empty()) {
    fmt::print("{}\n", cause);
    return Exit::bad;
  }
  if (tried == 0) {
    fmt::print(stderr, "holdfast-validate: no mutant belongs to world {}\n", arguments.world);
    return Exit::no_verdict;
  }
  fmt::print("PASS world={} mutants={} killed={} seed={}\n", arguments.world, tried, killed, arguments.draw.seed);
  return Exit::good;
}
#endif

/// Errors: invalid_argument for choices that do not go together.
Status choose_engine(const Arguments& arguments) {
  if (arguments.engine.empty() && !arguments.compare_engines) return {};
  if (arguments.world == "threads" || arguments.world == "procs") {
    return fail(ErrorCode::invalid_argument, "world {} runs no simulator; expected --world sim or simgpu with a choice of engine",
                arguments.world);
  }
  if (arguments.compare_engines && (arguments.mutants || !arguments.engine.empty()))
    return fail(ErrorCode::invalid_argument, "--compare-engines runs on both engines; expected neither --engine nor --mutants with it");
  if (!arguments.engine.empty()) sim::set_default_engine(TRY(sim::engine_named(arguments.engine)));
  if (arguments.compare_engines || sim::default_engine() == sim::EngineKind::thread) sim::stay_on_one_processor();
  return {};
}

WorldRequest request_of(const Arguments& arguments) {
  return {arguments.world, arguments.processes, arguments.folder,
          fmt::format("--property \"{}\" --cases {} --ranks {} --seed {}{}", arguments.property, arguments.draw.cases,
                      arguments.draw.ranks_max, arguments.draw.seed, arguments.preflight_only ? " --preflight" : "") +
              (arguments.parity.asked()
                   ? fmt::format(" --parity \"{}\" --parity-seed {}", arguments.parity.scenario, arguments.parity.seed.value_or(0))
                   : "")};
}

/// What an outcome is called: the world, and what else it was.
std::string title_of_world(const Arguments& arguments) {
  return arguments.world + (arguments.engine.empty() ? "" : " on engine " + arguments.engine) +
         (arguments.mutant.empty() ? "" : " with the mutant " + arguments.mutant);
}

Exit run(Arguments arguments) {
  if (arguments.list) {
    list_properties();
    return Exit::good;
  }
  if (!arguments.parity.compare.empty()) return static_cast<Exit>(compare_parity(arguments.parity, arguments.json));
  if (const Status chosen = choose_engine(arguments); !chosen) {
    fmt::print(stderr, "holdfast-validate: {}\n", chosen.error());
    return Exit::no_verdict;
  }
  auto world = world_named(request_of(arguments));
  if (!world) {
    fmt::print(stderr, "holdfast-validate: {}\n", world.error());
    return Exit::no_verdict;
  }
  arguments.draw.ranks_max = ranks_of(**world, arguments);
  if (!(*world)->tells()) {  // to one terminal, and one file, once
    arguments.publication = {};
    if (!std::freopen("/dev/null", "w", stdout)) return Exit::no_verdict;
  }
#ifdef HOLDFAST_MUTANTS
  if (arguments.mutants) return kill_mutants(**world, arguments);
  const auto& known = properties::mutants();
  if (!arguments.mutant.empty() && std::ranges::find(known, arguments.mutant, &Mutant::id) == known.end()) {
    fmt::print(stderr, "holdfast-validate: mutant \"{}\": there is none of that name; --mutants shows them\n", arguments.mutant);
    return Exit::no_verdict;
  }
  holdfast::mutants::activate(arguments.mutant);
#else
  if (arguments.mutants || !arguments.mutant.empty()) {
    fmt::print(stderr, "holdfast-validate: this build holds no mutants; holdfast-validate-mutants does\n");
    return Exit::no_verdict;
  }
#endif
  if (arguments.parity.asked())
    return static_cast<Exit>(perform_parity(**world, title_of_world(arguments), arguments.parity, arguments.draw, arguments.json));
  return run_catalogue(**world, arguments);
}

void add_parity_options(CLI::App& app, Arguments& arguments) {
  ParityArguments& parity = arguments.parity;
  const std::string group = "Parity";
  CLI::Option* const scenario =
      app.add_option("--parity", parity.scenario, "perform this scenario (properties/parity/README.md) and print its outcome");
  CLI::Option* const seed = app.add_option("--parity-seed", parity.seed, "perform as many scenarios as --cases says, drawn from this seed");
  CLI::Option* const compare =
      app.add_option("--compare-parity", parity.compare, "say where these outcomes, of --parity with --json, differ")->expected(2, 64);
  CLI::Option* const html = app.add_option("--html", parity.html, "with --compare-parity: write the comparison as a page there");
  scenario->group(group)->excludes(seed, compare);
  seed->group(group)->excludes(compare);
  compare->group(group);
  html->group(group)->needs(compare);
  for (const char* other : {"--property", "--compare-engines", "--list", "--mutants", "--junit", "--summary"}) {
    for (CLI::Option* const option : {scenario, seed, compare}) option->excludes(app.get_option(other));
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Runs Holdfast's catalogue of properties in a world.\nExample: holdfast-validate --world sim --cases 1000",
               "holdfast-validate"};
  Arguments arguments;
  app.add_option("--world", arguments.world,
                 "sim (simulated); threads, procs (real ones, with files); launched (the processes of torchrun, srun or mpirun); simgpu "
                 "(CUDA back end on "
                 "a simulated CUDA runtime); cuda1 (launched, on GPUs that ranks may share); "
                 "nccl (likewise, a GPU a rank, with NCCL between them)")
      ->capture_default_str();
  app.add_option("--property", arguments.property, "only this one (--list shows them)");
  app.add_option("--cases", arguments.draw.cases, "cases a property")->capture_default_str()->check(CLI::Range(1, 100'000'000));
  app.add_option("--ranks", arguments.draw.ranks_max, "ranks of a drawn job, at most")->capture_default_str()->check(CLI::Range(1, 64));
  app.add_option("--seed", arguments.draw.seed, "of everything that is drawn, decimal or 0x-hex")
      ->envname("HOLDFAST_SEED")
      ->capture_default_str();
  app.add_option("--engine", arguments.engine, "what runs simulated ranks: fiber (default), or thread (slow; the results are the same)");
  app.add_flag("--compare-engines", arguments.compare_engines,
               "check on both engines, and compare every run with the same one on the other");
  app.add_option("--processes", arguments.processes, "launched, cuda1: start so many on this host, without a launcher")
      ->check(CLI::Range(1, 64));
  app.add_option("--folder", arguments.folder,
                 "launched, cuda1, nccl: where to save, seen by all ranks; default: where temporary files go");
  app.add_flag("--preflight", arguments.preflight_only,
               "only try ranks, storage and devices, which worlds of a launcher do before the properties");
  app.add_flag("--list", arguments.list, "show the properties and end");
  app.add_flag("--json", arguments.json, "one object on stdout");
  CLI::Option* const mutants = app.add_flag("--mutants", arguments.mutants, "in the mutant build: every planted bug must be caught");
  app.add_option("--mutant", arguments.mutant, "in the mutant build: with this planted bug")->excludes(mutants);
  app.add_option("--junit", arguments.publication.junit, "write JUnit XML there, a test case a property")->excludes(mutants);
  app.add_option("--summary", arguments.publication.summary,
                 "write a summary in Markdown there; it is also appended to the file that GITHUB_STEP_SUMMARY names, if any")
      ->excludes(mutants);
  add_parity_options(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::no_verdict);
  }
  if (arguments.parity.compare.empty()) run_program_of(arguments.world, argv);
  return static_cast<int>(run(arguments));
}
