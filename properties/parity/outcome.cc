#include "properties/parity/outcome.h"

#include <map>

#include "impl/core/failure.h"
#include "impl/spec/json.h"
#include "properties/gen/layout_file.h"
#include "reports/text.h"

namespace holdfast::properties::parity {
namespace {

using Json = nlohmann::json;
using spec::JsonAt;

constexpr std::string_view format_name = "holdfast.parity.outcome";

/// The member, or null: what is summed up may come from anywhere.
const Json& member(const Json& json, const char* key) {
  static const Json none;
  return json.is_object() && json.contains(key) ? json[key] : none;
}

std::string text_of(const Json& json) {
  return json.is_string() ? json.get<std::string>() : json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string summary_of_rank(const Json& rank) {
  if (const Json& failed = member(rank, "failed"); failed.is_object()) {
    std::vector<std::string> ranks;
    if (const Json& map = member(failed, "ranks"); map.is_object()) {
      for (const auto& [failing, unused] : map.items()) ranks.push_back(failing);
    }
    return fmt::format("{} at {} on rank{} {}", text_of(member(failed, "outcome")), text_of(member(failed, "step")),
                       ranks.size() == 1 ? "" : "s", fmt::join(ranks, ","));
  }
  if (const Json& error = member(rank, "error"); error.is_object()) return text_of(member(error, "code"));
  for (const char* done : {"newest", "committed", "loaded", "damaged"}) {
    if (!rank.is_object() || !rank.contains(done)) continue;
    const std::size_t skipped = member(rank, "skipped").size();
    return fmt::format("{} {}{}", done, text_of(rank[done]), skipped > 0 ? fmt::format(" ({} skipped)", skipped) : "");
  }
  if (const Json& findings = member(rank, "findings"); findings.is_array())
    return findings.empty() ? "intact" : fmt::format("{} damaged", findings.size());
  return rank.is_null() ? "did not come back" : "something";
}

}  // namespace

Json to_json(const Outcomes& outcomes) {
  return {{"format", format_name}, {"version", outcome_version}, {"world", outcomes.world}, {"runs", outcomes.runs}};
}

Result<Outcomes> outcomes_from_json(const Json& json, const std::string& where) {
  const JsonAt at(json, where);
  if (TRY(at.text("format")) != format_name) return at.wrong("format", fmt::format("\"{}\"", format_name));
  if (const std::int64_t version = TRY(at.number("version", 1)); version != outcome_version)
    return fail(ErrorCode::unsupported, "{}: it is of version {}; expected {}", where, version, outcome_version);
  Outcomes outcomes{TRY(at.text("world")), json.contains("runs") ? json["runs"] : Json()};
  for (const JsonAt& run : TRY(at.list("runs", "run"))) {
    TRY(run.at("scenario"));
    for (const JsonAt& act : TRY(run.list("acts", "act"))) TRY(act.text("act"));
  }
  return outcomes;
}

Result<Outcomes> read_outcomes(const std::string& path) {
  const std::string where = fmt::format("outcome \"{}\"", path);
  return outcomes_from_json(TRY(spec::parse_json(TRY(gen::read_text_file(path)), where)), where);
}

std::string summary(const Json& act) {
  std::map<std::string, std::vector<Rank>> ranks_of;
  std::vector<std::string> in_order;
  std::int32_t rank = 0;
  for (const Json& told : member(act, "ranks")) {
    const std::string text = summary_of_rank(told);
    if (!ranks_of.contains(text)) in_order.push_back(text);
    ranks_of[text].push_back(Rank{rank++});
  }
  std::vector<std::string> parts;
  for (const std::string& text : in_order)
    parts.push_back(in_order.size() == 1 ? text : fmt::format("{}: {}", rank_text(ranks_of[text]), text));
  parts.push_back(reports::counted(member(act, "files").size(), "file"));
  if (!member(act, "problems").empty()) parts.push_back(reports::counted(member(act, "problems").size(), "problem"));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string first_problem(const Json& run) {
  for (const Json& act : member(run, "acts")) {
    const Json& problems = member(act, "problems");
    if (!problems.empty()) return fmt::format("{}: {}", text_of(member(act, "act")), text_of(problems.front()));
  }
  return "";
}

}  // namespace holdfast::properties::parity
