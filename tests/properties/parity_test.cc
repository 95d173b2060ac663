// Scenarios of parity as JSON, and outcomes compared.
#include <gtest/gtest.h>

#include "properties/parity/compare.h"
#include "properties/parity/draw.h"
#include "properties/parity/perform.h"
#include "properties/parity/scenario.h"
#include "properties/worlds/sim_world.h"

namespace holdfast::properties::parity {
namespace {

using Json = nlohmann::json;

Json small() {
  return Json::parse(R"({
    "format": "holdfast.parity.scenario", "version": 1, "name": "small", "seed": 1, "block_bytes": 16,
    "tensors": {"w": {"dtype": "F32", "shape": [4, 2]}}, "values": {"trainer": 3},
    "jobs": {"two": {"ranks": 2, "coordinator": 1, "layouts": {"w": {"kind": "chunk", "dim": 0, "ranks": [0, 1]}}}},
    "acts": [{"act": "save", "job": "two", "step": 1, "version": 1}, {"act": "load", "job": "two"}]
  })");
}

std::string refusal(const Json& json) {
  const auto scenario = scenario_from_json(json, "s");
  return scenario ? "none" : scenario.error().message;
}

Json with(const char* pointer, Json value) {
  Json json = small();
  json[Json::json_pointer(pointer)] = std::move(value);
  return json;
}

TEST(ParityScenario, ComesBackFromItsJsonWhateverIsDrawn) {
  const auto scenarios = draw_scenarios({.seed = 4, .cases = 200, .ranks_max = 8});
  ASSERT_EQ(scenarios.size(), 200u);
  for (const Scenario& scenario : scenarios) {
    const Json json = to_json(scenario);
    const auto back = scenario_from_json(json, scenario.name);
    ASSERT_TRUE(back.has_value()) << back.error().message << "\n" << json.dump(1);
    EXPECT_EQ(to_json(*back), json);
  }
}

TEST(ParityScenario, IsTheSameWheneverItIsDrawn) {
  const gen::DrawOptions options{.seed = 9, .cases = 20, .ranks_max = 4};
  const auto once = draw_scenarios(options), again = draw_scenarios(options);
  for (std::size_t i = 0; i < once.size(); ++i) EXPECT_EQ(to_json(once[i]), to_json(again[i]));
}

TEST(ParityScenario, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(refusal(small()), "none");
  EXPECT_EQ(refusal(Json(3)), "s is 3; expected an object");
  EXPECT_EQ(refusal(with("/version", 2)), "s: it is of version 2; expected 1");
  EXPECT_EQ(refusal(with("/jobs", Json::object())), "s: \"jobs\" is {}; expected one job at least");
  EXPECT_EQ(refusal(with("/tensors/w/dtype", "F9")), "s: tensor \"w\": unknown dtype \"F9\"");
  EXPECT_EQ(refusal(with("/tensors/w/shape", {1 << 20, 1 << 20})),
            "s: tensor \"w\": \"shape\" is [1048576,1048576]; expected at most 67108864 elements");
  EXPECT_EQ(refusal(with("/tensors/w/shape", {1 << 20, 32})), "s: its tensors and values have 134217731 bytes; expected at most 67108864");
  EXPECT_EQ(refusal(with("/tensors/v", {{"dtype", "F32"}, {"shape", {1}}})).substr(0, 27), "s: job \"two\": \"layouts\" is ");
  EXPECT_EQ(refusal(with("/jobs/two/ranks", 65)), "s: job \"two\": \"ranks\" is 65; expected an integer from 1 to 64");
  EXPECT_EQ(refusal(with("/jobs/two/coordinator", 2)), "s: job \"two\": \"coordinator\" is 2; expected an integer from 0 to 1");
  EXPECT_EQ(refusal(with("/jobs/two/layouts/x", {{"kind", "replicated"}})), "s: job \"two\": layout of \"x\": there is no such tensor");
  EXPECT_EQ(refusal(with("/jobs/two/layouts/w/ranks", {0, 2})),
            "s: job \"two\": layout of \"w\": \"ranks\" is [0,2]; expected ranks below 2");
  EXPECT_EQ(refusal(with("/jobs/two/layouts/w/dims", 1)),
            "s: job \"two\": layout of \"w\": found the member \"dims\"; expected kind, dim, ranks");
  EXPECT_EQ(refusal(with("/acts/1/act", "unload")),
            "s: act 1: \"act\" is \"unload\"; expected save, async_save, load, damage, latest or verify");
  EXPECT_EQ(refusal(with("/acts/1/job", "three")), "s: act 1: \"job\" is \"three\"; expected one of the jobs: two");
  EXPECT_EQ(refusal(with("/acts/1/stremed", true)), "s: act 1: found the member \"stremed\"; expected act, job, streamed, fails");
  EXPECT_EQ(
      refusal(with("/acts/1/fails", {{"hook", "finish"}, {"ranks", {0}}})),
      "s: act 1: fails: \"hook\" is \"finish\"; expected read_metadata, set_up_storage_reader, prepare_local_plan, prepare_global_plan, "
      "read_data, read_data_async");
  EXPECT_EQ(refusal(with("/acts/1", {{"act", "damage"}, {"file", "../x"}, {"bit", 1}})),
            "s: act 1: \"file\" is \"../x\"; expected a path below the folder of checkpoints");
}

/// Every value of the scenario, replaced in turn by others that may stand in a file.
TEST(ParityScenario, GivesAScenarioThatCanBePerformedOrAnErrorForAnyChangedValue) {
  const std::vector<Json> others = {nullptr,
                                    -1,
                                    0,
                                    1,
                                    3,
                                    1.5,
                                    std::uint64_t{1} << 63,
                                    1 << 26,
                                    "mesh",
                                    "flat",
                                    Json::array(),
                                    Json::object(),
                                    Json::array({0}),
                                    Json::array({7, 7, 7})};
  std::size_t performed = 0;
  SimWorld world;
  for (const Scenario& scenario : draw_scenarios({.seed = 2, .cases = 25, .ranks_max = 3})) {
    const Json json = to_json(scenario);
    const Json flat = json.flatten();
    for (const auto& [place, value] : flat.items()) {
      Json changed = json;
      changed[Json::json_pointer(place)] = others[(performed + place.size()) % others.size()];
      const auto read = scenario_from_json(changed, "changed");
      if (!read || ++performed % 50 != 0) continue;
      EXPECT_EQ(perform(*read, world)["acts"].size(), read->acts.size());
    }
  }
  EXPECT_GT(performed, 100u);
}

Outcomes outcome(std::string world, Json act) {
  act["act"] = "load";
  return {std::move(world), Json::array({{{"scenario", "s"}, {"acts", Json::array({act})}}})};
}

TEST(ParityComparison, NamesEachPlaceThatDiffersAsDeepAsItGoes) {
  const Outcomes a = outcome("a", {{"files", {{"x", {{"bytes", 1}}}, {"y", {{"bytes", 2}}}}}, {"ranks", {{{"loaded", "d"}}, nullptr}}});
  const Outcomes b = outcome("b", {{"files", {{"x", {{"bytes", 3}}}}}, {"ranks", {{{"loaded", "d"}}, {{"loaded", "d"}}}}});
  const auto compared = compare({a, b, a});
  ASSERT_TRUE(compared.has_value()) << compared.error().message;
  EXPECT_EQ(compared->sources, (std::vector<std::string>{"a", "b", "a"}));
  ASSERT_EQ(compared->chapters.size(), 1u);
  const auto& places = compared->chapters[0].items.at(0).places;
  ASSERT_EQ(places.size(), 3u);
  EXPECT_EQ(places[0].path, "files/x/bytes");
  EXPECT_EQ(places[0].values, (std::vector<std::string>{"1", "3", "1"}));
  EXPECT_EQ(places[1].path, "files/y");
  EXPECT_EQ(places[1].values, (std::vector<std::string>{"{\"bytes\":2}", "(absent)", "{\"bytes\":2}"}));
  EXPECT_EQ(places[2].path, "ranks/1");
  EXPECT_EQ(compared->items_that_differ(), 1u);
  EXPECT_EQ(compare({a, a})->items_that_differ(), 0u);
}

TEST(ParityComparison, RefusesOutcomesOfDifferentScenarios) {
  Outcomes a = outcome("a", {}), b = outcome("b", {});
  EXPECT_EQ(compare({a}).error().message, "compare: found 1 outcomes; expected two at least");
  b.runs[0]["scenario"] = "t";
  EXPECT_EQ(compare({a, b}).error().message, "compare: run 0 of b is not of the scenario of a; expected outcomes of one scenario");
  b.runs.push_back(b.runs[0]);
  EXPECT_EQ(compare({a, b}).error().message, "compare: b has 2 runs, a has 1; expected outcomes of the same scenarios");
}

TEST(ParityOutcome, ComesBackFromItsJsonAndRefusesWhatIsNone) {
  const Outcomes a = outcome("a", {{"ranks", Json::array()}});
  EXPECT_EQ(to_json(*outcomes_from_json(to_json(a), "o")), to_json(a));
  const auto refusal_of = [&](const char* pointer, Json value) {
    Json json = to_json(a);
    json[Json::json_pointer(pointer)] = std::move(value);
    const auto read = outcomes_from_json(json, "o");
    return read ? "none" : read.error().message;
  };
  EXPECT_EQ(refusal_of("/version", 7), "o: it is of version 7; expected 1");
  EXPECT_EQ(refusal_of("/runs", 7), "o: \"runs\" is 7; expected a list");
  EXPECT_EQ(refusal_of("/runs/0/acts/0", 7), "o: run 0: act 0 is 7; expected an object");
  EXPECT_EQ(refusal_of("/runs/0/acts/0/act", nullptr), "o: run 0: act 0: \"act\" is null; expected a text");
}

TEST(ParityOutcome, IsSummedUpWhateverItHolds) {
  EXPECT_EQ(summary({{"ranks", {{{"committed", "step-1.a1"}}, {{"committed", "step-1.a1"}}}}, {"files", {{"latest", 1}}}}),
            "committed step-1.a1, 1 file");
  EXPECT_EQ(summary({{"ranks", {{{"loaded", "d"}, {"skipped", {"x"}}}, nullptr}}, {"problems", {"hangs"}}}),
            "rank 0: loaded d (1 skipped), rank 1: did not come back, 0 files, 1 problem");
  EXPECT_EQ(summary({{"ranks", {{{"failed", {{"step", "write"}, {"outcome", "failed"}, {"ranks", {{"1", 0}, {"3", 0}}}}}}}}}),
            "failed at write on ranks 1,3, 0 files");
  for (const Json& odd : {Json(), Json(3), Json{{"ranks", 3}}, Json{{"ranks", {{{"failed", 3}}, {{"error", 1}}, {{"loaded", 9}}}}}})
    EXPECT_FALSE(summary(odd).empty());
}

}  // namespace
}  // namespace holdfast::properties::parity
