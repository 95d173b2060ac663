#include "properties/parity/compare.h"

#include <algorithm>
#include <set>

namespace holdfast::properties::parity {
namespace {

using Json = nlohmann::json;
using Values = std::vector<const Json*>;  ///< one an outcome; null where there is no such place

constexpr std::string_view absent = "(absent)";

std::string text(const Json* value) {
  if (!value) return std::string(absent);
  return value->is_string() ? value->get<std::string>() : value->dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool all_equal(const Values& values) {
  return std::ranges::all_of(
      values, [&](const Json* value) { return value && values.front() ? *value == *values.front() : value == values.front(); });
}

bool all_are(const Values& values, bool (Json::*kind)() const noexcept) {
  return std::ranges::all_of(values, [&](const Json* value) { return value && (value->*kind)(); });
}

void find_differences(const std::string& path, const Values& values, std::vector<reports::ComparedPlace>& found) {
  if (all_equal(values)) return;
  const auto inside = [&](const std::string& name, const auto& find) {
    Values inner;
    for (const Json* value : values) inner.push_back(find(*value));
    find_differences(path.empty() ? name : path + "/" + name, inner, found);
  };
  if (all_are(values, &Json::is_object)) {
    std::set<std::string> keys;
    for (const Json* value : values) {
      for (const auto& [key, unused] : value->items()) keys.insert(key);
    }
    for (const std::string& key : keys) inside(key, [&](const Json& json) { return json.contains(key) ? &json[key] : nullptr; });
  } else if (all_are(values, &Json::is_array)) {
    std::size_t longest = 0;
    for (const Json* value : values) longest = std::max(longest, value->size());
    for (std::size_t i = 0; i < longest; ++i)
      inside(fmt::format("{}", i), [&](const Json& json) { return i < json.size() ? &json[i] : nullptr; });
  } else {
    reports::ComparedPlace place{path, {}};
    for (const Json* value : values) place.values.push_back(text(value));
    found.push_back(std::move(place));
  }
}

reports::ComparedItem item_of(const Values& acts) {
  reports::ComparedItem item;
  item.title = (*acts.front())["act"].get<std::string>();
  for (const Json* act : acts) item.told.push_back(summary(*act));
  find_differences("", acts, item.places);
  return item;
}

Status check_same_scenario(const std::vector<Outcomes>& outcomes, std::size_t run) {
  const Json& first = outcomes.front().runs[run];
  for (const Outcomes& other : outcomes) {
    const Json& here = other.runs[run];
    if (here["scenario"] != first["scenario"] || here["acts"].size() != first["acts"].size())
      return fail(ErrorCode::invalid_argument, "compare: run {} of {} is not of the scenario of {}; expected outcomes of one scenario", run,
                  other.world, outcomes.front().world);
  }
  return {};
}

reports::ComparedChapter chapter_of(const std::vector<Outcomes>& outcomes, std::size_t run) {
  const Json& first = outcomes.front().runs[run];
  reports::ComparedChapter chapter;
  const Json& scenario = first["scenario"];
  chapter.title = scenario.is_object() && scenario.contains("name") ? text(&scenario["name"]) : fmt::format("run {}", run);
  for (std::size_t act = 0; act < first["acts"].size(); ++act) {
    Values acts;
    for (const Outcomes& each : outcomes) acts.push_back(&each.runs[run]["acts"][act]);
    chapter.items.push_back(item_of(acts));
  }
  return chapter;
}

}  // namespace

Result<reports::Comparison> compare(const std::vector<Outcomes>& outcomes) {
  if (outcomes.size() < 2) return fail(ErrorCode::invalid_argument, "compare: found {} outcomes; expected two at least", outcomes.size());
  reports::Comparison comparison;
  for (const Outcomes& each : outcomes) {
    comparison.sources.push_back(each.world);
    if (each.runs.size() != outcomes.front().runs.size())
      return fail(ErrorCode::invalid_argument, "compare: {} has {} runs, {} has {}; expected outcomes of the same scenarios", each.world,
                  each.runs.size(), outcomes.front().world, outcomes.front().runs.size());
  }
  for (std::size_t run = 0; run < outcomes.front().runs.size(); ++run) {
    TRY(check_same_scenario(outcomes, run));
    comparison.chapters.push_back(chapter_of(outcomes, run));
  }
  return comparison;
}

}  // namespace holdfast::properties::parity
