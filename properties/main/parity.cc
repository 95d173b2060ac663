#include "properties/main/parity.h"

#include <algorithm>
#include <cstdio>

#include "properties/parity/compare.h"
#include "properties/parity/draw.h"
#include "properties/parity/perform.h"
#include "reports/publish.h"
#include "reports/text.h"

namespace holdfast::properties {
namespace {

using Json = nlohmann::json;

constexpr int good = 0, bad = 1, no_verdict = 2;
constexpr std::size_t shown_max = 160;  ///< code points of a value in a line

int without_verdict(const Error& error) {
  fmt::print(stderr, "holdfast-validate: {}\n", error);
  return no_verdict;
}

Result<std::vector<parity::Scenario>> scenarios_of(const ParityArguments& arguments, gen::DrawOptions draw) {
  if (!arguments.seed) return std::vector{TRY(parity::read_scenario(arguments.scenario))};
  draw.seed = *arguments.seed;
  return parity::draw_scenarios(draw);
}

/// Each scenario with what came of its acts.
void print_runs(const Json& runs) {
  for (const Json& run : runs) {
    fmt::print("{}\n", run["scenario"]["name"].get<std::string>());
    for (const Json& act : run["acts"]) fmt::print("  {}: {}\n", act["act"].get<std::string>(), parity::summary(act));
  }
}

Result<reports::Comparison> compared(const std::vector<std::string>& paths) {
  std::vector<parity::Outcomes> outcomes;
  for (const std::string& path : paths) {
    parity::Outcomes& read = outcomes.emplace_back(TRY(parity::read_outcomes(path)));
    const auto same = [&](const parity::Outcomes& before) { return before.world == read.world; };
    if (std::any_of(outcomes.begin(), std::prev(outcomes.end()), same)) read.world += fmt::format(" ({})", path);
  }
  return parity::compare(outcomes);
}

/// Calls `tell` with each place: its scenario, its act ("act 3, load into four") and what each world has there.
template <typename Tell>
void for_each_difference(const reports::Comparison& comparison, const Tell& tell) {
  for (const reports::ComparedChapter& chapter : comparison.chapters) {
    for (std::size_t i = 0; i < chapter.items.size(); ++i) {
      for (const reports::ComparedPlace& place : chapter.items[i].places)
        tell(chapter.title, fmt::format("act {}, {}", i + 1, chapter.items[i].title), place);
    }
  }
}

/// Each value once, with the worlds that have it: "1 in sim, procs; 2 in simgpu".
std::string values_of(const reports::Comparison& comparison, const reports::ComparedPlace& place) {
  std::vector<std::pair<std::string, std::vector<std::string>>> worlds_of;
  for (std::size_t i = 0; i < place.values.size(); ++i) {
    auto known = std::ranges::find_if(worlds_of, [&](const auto& value) { return value.first == place.values[i]; });
    if (known == worlds_of.end()) known = worlds_of.insert(known, {place.values[i], {}});
    known->second.push_back(comparison.sources[i]);
  }
  std::vector<std::string> texts;
  for (const auto& [value, worlds] : worlds_of)
    texts.push_back(fmt::format("{} in {}", reports::clip(value, shown_max), fmt::join(worlds, ", ")));
  return fmt::format("{}", fmt::join(texts, "; "));
}

Json json_of(const reports::Comparison& comparison) {
  Json differences = Json::array();
  for_each_difference(comparison, [&](const std::string& scenario, const std::string& act, const reports::ComparedPlace& place) {
    differences.push_back({{"scenario", scenario}, {"act", act}, {"place", place.path}, {"values", place.values}});
  });
  return {{"holdfast", 1},
          {"worlds", comparison.sources},
          {"scenarios", comparison.chapters.size()},
          {"acts", comparison.items()},
          {"acts_that_differ", comparison.items_that_differ()},
          {"differences", std::move(differences)}};
}

}  // namespace

int perform_parity(World& world, const std::string& title, const ParityArguments& arguments, gen::DrawOptions draw, bool json) {
  const auto scenarios = scenarios_of(arguments, draw);
  if (!scenarios) return without_verdict(scenarios.error());
  parity::Outcomes outcomes{title, Json::array()};
  std::string problem;
  for (const parity::Scenario& scenario : *scenarios) {
    outcomes.runs.push_back(parity::perform(scenario, world));
    const std::string found = parity::first_problem(outcomes.runs.back());
    if (problem.empty() && !found.empty()) problem = fmt::format("{}: {}", scenario.name, found);
  }
  if (json) {
    fmt::print("{}\n", parity::to_json(outcomes).dump(-1, ' ', false, Json::error_handler_t::replace));
  } else {
    print_runs(outcomes.runs);
  }
  if (problem.empty()) return good;
  fmt::print(json ? stderr : stdout, "FAIL world={} {}\n", title, reports::clip(reports::first_line(problem), shown_max));
  return bad;
}

int compare_parity(const ParityArguments& arguments, bool json) {
  Result<reports::Comparison> comparison = compared(arguments.compare);
  if (!comparison) return without_verdict(comparison.error());
  comparison->name = "Parity of worlds";
  comparison->command = fmt::format("holdfast-validate --compare-parity {} --html {}", fmt::join(arguments.compare, " "), arguments.html);
  comparison->started = reports::utc("%Y-%m-%d %H:%M:%S UTC");
  comparison->machine = reports::machine();
  if (!arguments.html.empty()) {
    const Status written = reports::write_text_file(arguments.html, reports::comparison_html(*comparison));
    if (!written) return without_verdict(written.error());
  }
  if (json) fmt::print("{}\n", json_of(*comparison).dump(-1, ' ', false, Json::error_handler_t::replace));
  std::FILE* const out = json ? stderr : stdout;
  std::string first;
  for_each_difference(*comparison, [&](const std::string& scenario, const std::string& act, const reports::ComparedPlace& place) {
    const std::string line = fmt::format("{}, {}: {}: {}", scenario, act, place.path, values_of(*comparison, place));
    if (first.empty()) first = line;
    if (!json) fmt::print("{}\n", line);
  });
  if (first.empty()) {
    fmt::print(out, "PASS worlds={} scenarios={} acts={}: equal in {}\n", comparison->sources.size(), comparison->chapters.size(),
               comparison->items(), fmt::join(comparison->sources, ", "));
    return good;
  }
  fmt::print(out, "FAIL acts={} differ={} first: {}\n", comparison->items(), comparison->items_that_differ(),
             reports::clip(first, shown_max));
  return bad;
}

}  // namespace holdfast::properties
