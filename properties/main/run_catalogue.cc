#include "properties/main/run_catalogue.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "impl/core/mark.h"
#include "properties/compare_engines.h"
#include "properties/preflight/preflight.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

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

}  // namespace

int ranks_of(const World& world, const Arguments& arguments) { return std::min(world.ranks_max(), arguments.draw.ranks_max); }

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

}  // namespace holdfast::properties
