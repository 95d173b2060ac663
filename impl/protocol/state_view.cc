#include "impl/protocol/state_view.h"

#include <algorithm>
#include <set>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::protocol {
namespace {

std::vector<std::string_view> keys_of(const StateDict& state) {
  std::vector<std::string_view> keys;
  for (const auto& [key, entry] : state.entries()) keys.push_back(key);
  return keys;
}

std::optional<RankPolicy> policy_of(const StateDict::Entry& entry) {
  const auto* bytes = std::get_if<BytesEntry>(&entry);
  return bytes ? bytes->per_rank : std::nullopt;
}

bool has_rank_values(const StateDict& state) {
  return std::ranges::any_of(state.entries(), [](const auto& named) { return policy_of(named.second).has_value(); });
}

/// What a key is called in the checkpoint.
const std::string& name_of(const std::string& key, const KeyMap::Renamed& renamed) {
  const auto found = renamed.names.find(key);
  return found == renamed.names.end() ? key : found->second;
}

Status none_reserved(const std::vector<std::string>& reserved) {
  if (reserved.empty()) return {};
  return fail(ErrorCode::invalid_argument, "plan save: \"{}\": keys that begin with {} are kept for values of single ranks",
              fmt::join(reserved, "\", \""), rank_value_prefix);
}

/// The same entry for all to see: no longer one of a single rank.
StateDict::Entry plain(StateDict::Entry entry) {
  if (auto* bytes = std::get_if<BytesEntry>(&entry)) bytes->per_rank.reset();
  return entry;
}

class LoadViewing {
 public:
  LoadViewing(StateDict& destination, const Metadata& metadata, const KeyFilter& only, Rank rank, std::int32_t ranks)
      : destination_(destination), metadata_(metadata), only_(only), rank_(rank), ranks_(ranks) {}

  Result<LoadView> run(const KeyMap& keys) {
    const KeyMap::Renamed renamed = TRY(keys.apply(keys_of(destination_)));
    saved_ = TRY(rank_values_of(metadata_));
    const bool needed = !keys.empty() || !only_.all() || has_rank_values(destination_);
    if (needed) view_.own = std::make_shared<StateDict>();
    view_.state = needed ? view_.own.get() : &destination_;
    for (const auto& [key, entry] : destination_.entries()) look_at(key, name_of(key, renamed), entry);
    if (!problems_.empty()) return fail(ErrorCode::invalid_argument, "plan load: {}", fmt::join(problems_, "; "));
    note_rules(renamed.used);
    note_unasked();
    if (MUTATE("load.first_missing_only", false, view_.notes.missing.size() > 1)) view_.notes.missing.resize(1);
    return std::move(view_);
  }

 private:
  void look_at(const std::string& key, const std::string& name, const StateDict::Entry& entry) {
    names_.push_back(name);
    if (!only_.admits(name)) return;
    const auto saved = saved_.find(name);
    const auto policy = policy_of(entry);
    if (!policy && saved != saved_.end() && std::holds_alternative<BytesEntry>(entry)) {
      problems_.push_back(fmt::format("\"{}\": a value for each of {} ranks in the checkpoint, one for all ranks in the destination", name,
                                      saved->second.ranks));
    } else if (policy && saved == saved_.end() && metadata_.entries.contains(name)) {
      problems_.push_back(fmt::format("\"{}\": one for all ranks in the checkpoint, a value for each rank in the destination", name));
    } else if (policy && saved != saved_.end()) {
      look_at_rank_value(key, name, entry, saved->second);
    } else {
      add(key, name, entry);
    }
  }

  void look_at_rank_value(const std::string& key, const std::string& name, const StateDict::Entry& entry, const SavedRankValue& saved) {
    asked_.insert(saved.keys.begin(), saved.keys.end());
    const auto stored = key_to_load(name, saved, *policy_of(entry), rank_, ranks_);
    if (!stored) {
      problems_.push_back(stored.error().message);
    } else if (*stored) {
      // A rank that saved none: told as missing, under the name that people know.
      add(key, metadata_.entries.contains(**stored) ? **stored : name, entry);
    } else {
      MARK("load.rank_value_dropped");
    }
  }

  void add(const std::string& key, const std::string& name, const StateDict::Entry& entry) {
    if (metadata_.entries.contains(name)) {
      asked_.insert(name);
    } else {
      view_.notes.missing.push_back(key);
    }
    if (!view_.own) return;
    if (!view_.own->entries().try_emplace(name, plain(entry)).second)
      problems_.push_back(fmt::format("\"{}\": two entries of the destination ask for it, one of them \"{}\"", name, key));
    if (std::holds_alternative<BytesEntry>(entry)) view_.values.emplace(name, key);
  }

  void note_rules(const std::vector<bool>& of_map) {
    view_.notes.used = of_map;
    std::ranges::sort(names_);
    std::ranges::copy(only_.used(names_), std::back_inserter(view_.notes.used));
  }

  void note_unasked() {
    std::uint64_t number = 0;
    for (const auto& [key, entry] : metadata_.entries) {
      if (!asked_.contains(key)) view_.notes.unasked.push_back(number);
      ++number;
    }
  }

  StateDict& destination_;
  const Metadata& metadata_;
  const KeyFilter& only_;
  Rank rank_;
  std::int32_t ranks_;
  std::map<std::string, SavedRankValue, std::less<>> saved_;
  std::vector<std::string> names_;
  std::set<std::string, std::less<>> asked_;
  std::vector<std::string> problems_;
  LoadView view_;
};

}  // namespace

Result<SaveView> view_to_save(const StateDict& state, const KeyMap& keys, Rank rank, std::int32_t ranks) {
  KeyMap::Renamed renamed = TRY(keys.apply(keys_of(state)));
  SaveView view{&state, {}, {}, std::move(renamed.used)};
  std::vector<std::string> reserved;
  if (keys.empty() && !has_rank_values(state)) {
    const auto at = state.entries().lower_bound(rank_value_prefix);
    for (auto key = at; key != state.entries().end() && key->first.starts_with(rank_value_prefix); ++key) reserved.push_back(key->first);
    TRY(none_reserved(reserved));
    return view;
  }
  const auto own = std::make_shared<StateDict>();
  for (const auto& [key, entry] : state.entries()) {
    const std::string& name = name_of(key, renamed);
    if (name.starts_with(rank_value_prefix)) reserved.push_back(name);
    if (name != key) view.renamed.emplace_back(name, key);
    const auto policy = policy_of(entry);
    own->entries().emplace(policy ? to_string(RankValueKey{name, rank, ranks, *policy}) : name, plain(entry));
  }
  TRY(none_reserved(reserved));
  view.state = own.get();
  view.own = own;
  return view;
}

void LoadView::put_back(StateDict& destination) {
  for (const auto& [name, key] : values) {
    std::get<BytesEntry>(*destination.find(key)).value = std::move(std::get<BytesEntry>(*own->find(name)).value);
  }
  values.clear();
}

Result<LoadView> view_to_load(StateDict& destination, const Metadata& metadata, const KeyMap& keys, const KeyFilter& only, Rank rank,
                              std::int32_t ranks) {
  return LoadViewing(destination, metadata, only, rank, ranks).run(keys);
}

}  // namespace holdfast::protocol
