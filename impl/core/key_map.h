// How the keys of a state dict are called in a checkpoint, and which of them are asked for. Pure.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/error.h"

namespace holdfast {

/// Rules for renaming; the same object serves the save and the load. To read what another program saved: KeyMap().prefix("model.", "module.").
class KeyMap {
 public:
  /// The key `from` is called `to` in the checkpoint.
  KeyMap& key(std::string from, std::string to);
  /// Keys that begin with `from` begin with `to` instead. Of several such rules the one with the longest `from` counts, and a key() rule before all.
  KeyMap& prefix(std::string from, std::string to);
  /// Asked for each key to which no rule above applies: its name in the checkpoint, or none to keep it. Equal keys must give equal names on all ranks.
  KeyMap& otherwise(std::function<std::optional<std::string>(std::string_view)> name);

  bool empty() const { return rules_.empty() && !otherwise_; }
  std::size_t size() const { return rules_.size() + (otherwise_ ? 1 : 0); }
  std::string rule_text(std::size_t rule) const;  ///< rename key "a" to "b"; rules in the order of their calls, otherwise() last

  struct Renamed {
    std::map<std::string, std::string, std::less<>> names;  ///< in the checkpoint, by key
    std::vector<bool> used;                                 ///< by rule: it applied to some key
  };
  /// Without a rule `names` stays empty. Errors: invalid_argument naming every two rules for one `from`, or else all keys that would get the same name.
  Result<Renamed> apply(const std::vector<std::string_view>& keys) const;

 private:
  enum class Kind { key, prefix };
  struct Rule {
    Kind kind;
    std::string from;
    std::string to;
  };
  using Index = std::map<std::string, std::size_t, std::less<>>;  ///< number of a rule, by `from`
  KeyMap& add(Rule rule, Index& index);
  std::optional<std::size_t> rule_for(std::string_view key) const;
  std::string rename(std::string_view key, std::vector<bool>& used) const;

  std::vector<Rule> rules_;
  Index keys_;
  Index prefixes_;
  std::set<std::size_t, std::greater<>> prefix_bytes_;
  std::vector<std::string> contradictions_;
  std::function<std::optional<std::string>(std::string_view)> otherwise_;
};

/// Which keys are asked for, by their names in the checkpoint: those that are listed, those that begin with a prefix, and those for which the
/// predicate is true. All of them when nothing is given.
struct KeyFilter {
  std::set<std::string, std::less<>> keys = {};
  std::set<std::string, std::less<>> prefixes = {};
  std::function<bool(std::string_view)> predicate = {};

  bool all() const { return keys.empty() && prefixes.empty() && !predicate; }
  bool admits(std::string_view name) const;
  std::vector<std::string> rule_texts() const;  ///< select key "a", select prefix "a."; keys first
  /// By rule: whether it admits one of `names`, which are ascending.
  std::vector<bool> used(const std::vector<std::string>& names) const;
};

}  // namespace holdfast
