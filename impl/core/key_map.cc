#include "impl/core/key_map.h"

#include <algorithm>

#include "impl/core/check.h"
#include "impl/core/mutate.h"

namespace holdfast {

KeyMap& KeyMap::add(Rule rule, Index& index) {
  const auto [first, added] = index.try_emplace(rule.from, rules_.size());
  rules_.push_back(std::move(rule));
  if (!added) contradictions_.push_back(fmt::format("{}, but {}", rule_text(first->second), rule_text(rules_.size() - 1)));
  return *this;
}

KeyMap& KeyMap::key(std::string from, std::string to) { return add({Kind::key, std::move(from), std::move(to)}, keys_); }

KeyMap& KeyMap::prefix(std::string from, std::string to) {
  prefix_bytes_.insert(from.size());
  return add({Kind::prefix, std::move(from), std::move(to)}, prefixes_);
}

KeyMap& KeyMap::otherwise(std::function<std::optional<std::string>(std::string_view)> name) {
  otherwise_ = std::move(name);
  return *this;
}

std::string KeyMap::rule_text(std::size_t rule) const {
  if (rule == rules_.size()) return "rename by the caller's function";
  CHECK(rule < rules_.size(), "rule {} of {}", rule, rules_.size());
  const Rule& told = rules_[rule];
  return fmt::format("rename {} \"{}\" to \"{}\"", told.kind == Kind::key ? "key" : "prefix", told.from, told.to);
}

std::optional<std::size_t> KeyMap::rule_for(std::string_view key) const {
  if (const auto found = keys_.find(key); found != keys_.end()) return found->second;
  std::optional<std::size_t> rule;
  for (const std::size_t bytes : prefix_bytes_) {
    const auto found = bytes <= key.size() ? prefixes_.find(key.substr(0, bytes)) : prefixes_.end();
    if (found == prefixes_.end()) continue;
    rule = found->second;
    if (MUTATE("key_map.shortest_prefix", true, false)) break;
  }
  return rule;
}

std::string KeyMap::rename(std::string_view key, std::vector<bool>& used) const {
  if (const auto number = rule_for(key)) {
    used[*number] = true;
    const Rule& rule = rules_[*number];
    return rule.kind == Kind::key ? rule.to : rule.to + std::string(key.substr(rule.from.size()));
  }
  std::optional<std::string> name = otherwise_ ? otherwise_(key) : std::nullopt;
  if (name) used[rules_.size()] = true;
  return name ? *std::move(name) : std::string(key);
}

Result<KeyMap::Renamed> KeyMap::apply(const std::vector<std::string_view>& keys) const {
  if (!contradictions_.empty()) return fail(ErrorCode::invalid_argument, "rename keys: {}", fmt::join(contradictions_, "; "));
  Renamed renamed;
  renamed.used.resize(size());
  if (empty()) return renamed;
  std::map<std::string, std::vector<std::string_view>> keys_of;
  for (const std::string_view key : keys) {
    std::string name = rename(key, renamed.used);
    keys_of[name].push_back(key);
    renamed.names.emplace(key, std::move(name));
  }
  std::vector<std::string> clashes;
  for (const auto& [name, of] : keys_of) {
    if (of.size() > 1) clashes.push_back(fmt::format("\"{}\" would be the name of \"{}\"", name, fmt::join(of, "\" and \"")));
  }
  if (clashes.empty()) return renamed;
  return fail(ErrorCode::invalid_argument, "rename keys: {}", fmt::join(clashes, "; "));
}

bool KeyFilter::admits(std::string_view name) const {
  if (all() || keys.contains(name)) return true;
  const auto begins = [&](const std::string& prefix) { return name.starts_with(prefix); };
  return std::ranges::any_of(prefixes, begins) || (predicate && predicate(name));
}

std::vector<std::string> KeyFilter::rule_texts() const {
  std::vector<std::string> texts;
  for (const std::string& key : keys) texts.push_back(fmt::format("select key \"{}\"", key));
  for (const std::string& prefix : prefixes) texts.push_back(fmt::format("select prefix \"{}\"", prefix));
  return texts;
}

std::vector<bool> KeyFilter::used(const std::vector<std::string>& names) const {
  std::vector<bool> used;
  for (const std::string& key : keys) used.push_back(std::ranges::binary_search(names, key));
  for (const std::string& prefix : prefixes) {
    const auto first = std::ranges::lower_bound(names, prefix);
    used.push_back(first != names.end() && first->starts_with(prefix));
  }
  return used;
}

}  // namespace holdfast
