#include "impl/spec/sharding.h"

#include <algorithm>
#include <charconv>

#include "impl/spec/json.h"

namespace holdfast::spec {
namespace {

constexpr std::size_t name_bytes_max = 1000;  // std::regex needs stack in proportion to the text

/// "Shard(0)", "StridedShard(0,tp)", "Layer", ...; none: no such placement. "Replicate" leaves `out` empty.
bool parse_place(const std::string& dim, const std::string& text, std::optional<Place>& out) {
  static const std::regex form(R"(([A-Za-z]+)(?:\((\d)(?:,(\w+))?\))?)");
  std::smatch parts;
  if (!std::regex_match(text, parts, form)) return false;
  const std::string word = parts[1];
  const bool has_dim = parts[2].matched, has_within = parts[3].matched;
  if (word == "Replicate") return !has_dim;
  Place place;
  place.dim = dim;
  if (has_dim) place.tensor_dim = std::stoi(parts[2]);
  if (has_within) place.within = parts[3];
  const auto is = [&](Place::Kind kind, bool needs_dim, bool needs_within) {
    place.kind = kind;
    out = place;
    return has_dim == needs_dim && has_within == needs_within;
  };
  if (word == "Shard") return is(Place::Kind::shard, true, false);
  if (word == "StridedShard") return is(Place::Kind::strided_shard, true, true);
  if (word == "Segments") return is(Place::Kind::segments, true, false);
  if (word == "Layer") return is(Place::Kind::layer, false, false);
  if (word == "First") return is(Place::Kind::first, false, false);
  if (word == "Last") return is(Place::Kind::last, false, false);
  if (word == "Expert") return is(Place::Kind::expert, false, false);
  if (word == "Flat") return is(Place::Kind::flat, false, false);
  return false;
}

Result<std::vector<Place>> places_of(const JsonAt& rule) {
  std::vector<Place> places;
  const JsonAt table = TRY(rule.at("place"));
  if (!table.json().is_object()) return rule.wrong("place", "an object");
  for (const auto& [dim, value] : table.json().items()) {
    std::optional<Place> place;
    const std::string text = TRY(table.text(dim.c_str()));
    if (!parse_place(dim, text, place)) {
      return table.wrong(dim.c_str(), "Replicate, Shard(d), StridedShard(d,dim), Segments(d), Layer, First, Last, Expert or Flat");
    }
    if (place) places.push_back(*std::move(place));
  }
  return places;
}

Result<std::regex> pattern_of(const JsonAt& rule, const std::string& match) {
  try {
    return std::regex(match, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error&) {
    return rule.wrong("match", "an ECMAScript regular expression");
  }
}

Result<Rule> rule_of(const JsonAt& entry) {
  Rule rule;
  rule.match = TRY(entry.text("match"));
  rule.pattern = TRY(pattern_of(entry, rule.match));
  rule.places = TRY(places_of(entry));
  rule.buffers_only = entry.has("buffer") && entry.json()["buffer"] == true;
  if (entry.has("rank")) rule.dims_only = static_cast<std::size_t>(TRY(entry.number("rank", 0)));
  if (entry.has("segments")) rule.segments = TRY(entry.numbers("segments", 0));
  if (entry.has("unit")) rule.unit = TRY(entry.number("unit", 1));
  if (entry.has("pad_to")) rule.pad_to = TRY(entry.number("pad_to", 1));
  if (rule.place(Place::Kind::segments) && rule.segments.empty()) return entry.wrong("segments", "the lengths that Segments cuts");
  return rule;
}

Result<RuleSet> rule_set_of(const JsonAt& entry, const std::string& name) {
  RuleSet set;
  set.name = name;
  if (entry.has("mesh")) set.mesh = TRY(entry.texts("mesh"));
  if (entry.has("expert_mesh")) set.expert_mesh = TRY(entry.texts("expert_mesh"));
  for (const JsonAt& rule : TRY(entry.list("rules", "rule"))) set.rules.push_back(TRY(rule_of(rule)));
  if (!entry.has("optimizer") || entry.json()["optimizer"].is_string()) return set;
  const JsonAt optimizer = TRY(entry.at("optimizer")).named(entry.where() + ": optimizer");
  if (TRY(optimizer.text("place")) != "Flat") return optimizer.wrong("place", "Flat");
  set.flat_optimizer = TRY(optimizer.text("mesh"));
  return set;
}

bool applies(const Rule& rule, const ModelTensor& tensor) {
  return (!rule.buffers_only || tensor.buffer) && (!rule.dims_only || *rule.dims_only == tensor.shape.size());
}

}  // namespace

const Place* Rule::place(Place::Kind kind) const {
  const auto found = std::ranges::find(places, kind, &Place::kind);
  return found == places.end() ? nullptr : &*found;
}

Result<Sharding> parse_sharding(std::string_view json, const std::string& path) {
  const std::string where = fmt::format("sharding \"{}\"", path);
  const nlohmann::json document = TRY(parse_json(json, where));
  const JsonAt file(document, where);
  const JsonAt sets = TRY(file.at("rule_sets"));
  if (!sets.json().is_object()) return file.wrong("rule_sets", "an object");
  Sharding sharding;
  for (const auto& [name, unused] : sets.json().items()) {
    const JsonAt set = TRY(sets.at(name.c_str()));
    sharding.rule_sets.emplace(name, TRY(rule_set_of(set.named(fmt::format("{}: {}", where, name)), name)));
  }
  if (!file.has("models")) return sharding;
  const JsonAt models = TRY(file.at("models"));
  if (!models.json().is_object()) return file.wrong("models", "an object");
  for (const auto& [name, unused] : models.json().items()) sharding.models.emplace(name, TRY(models.texts(name.c_str())));
  return sharding;
}

Result<const RuleSet*> find_rules(const Sharding& sharding, const std::string& name) {
  const auto found = sharding.rule_sets.find(name);
  if (found != sharding.rule_sets.end()) return &found->second;
  std::vector<std::string_view> names;
  for (const auto& [known, unused] : sharding.rule_sets) names.push_back(known);
  return fail(ErrorCode::not_found, "there is no rule set \"{}\"; expected one of {}", name, fmt::join(names, ", "));
}

Result<Matched> match(const RuleSet& rules, const ModelTensor& tensor) {
  if (tensor.name.size() > name_bytes_max) {
    return fail(ErrorCode::invalid_argument, "rules {}: a tensor's name of {} bytes; expected at most {}", rules.name, tensor.name.size(),
                name_bytes_max);
  }
  for (const Rule& rule : rules.rules) {
    std::smatch groups;
    if (!applies(rule, tensor) || !std::regex_match(tensor.name, groups, rule.pattern)) continue;
    Matched matched;
    matched.rule = &rule;
    for (std::size_t group = 1; group < groups.size(); ++group) {
      const std::string digits = groups[group];
      std::int64_t number = -1;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
      matched.captured.push_back(error == std::errc() && end == digits.data() + digits.size() ? number : -1);
    }
    return matched;
  }
  return fail(ErrorCode::invalid_argument, "rules {}: none is for the tensor \"{}\" of shape {}", rules.name, tensor.name,
              to_string({tensor.shape.data(), tensor.shape.size()}));
}

}  // namespace holdfast::spec
