#include "impl/protocol/save_notes.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "impl/core/ids.h"
#include "impl/core/mutate.h"
#include "impl/core/nested.h"
#include "impl/core/rank_values.h"
#include "impl/protocol/key_report.h"

namespace holdfast::protocol {
namespace {

/// The key behind each name, and the rank that said so first.
class Origins {
 public:
  void add(const std::string& name, const std::string& key, Rank rank) {
    const auto [first, added] = origins_.try_emplace(name, key, rank);
    if (added || first->second.first == key) return;
    clashes_.insert(
        fmt::format("\"{}\" would be \"{}\" of rank {} and \"{}\" of rank {}", name, first->second.first, first->second.second, key, rank));
  }
  Status status() const {
    if (clashes_.empty()) return {};
    return fail(ErrorCode::invalid_argument, "plan save: rename keys: {}", fmt::join(clashes_, "; "));
  }

 private:
  std::map<std::string, std::pair<std::string, Rank>> origins_;
  std::set<std::string> clashes_;
};

std::set<std::string> names_in(const SavePlan& plan) {
  std::set<std::string> names;
  for (const WriteItem& item : plan.items) {
    const auto of_rank = parse_rank_value_key(item.index.fqn);
    names.insert(of_rank ? of_rank->name : item.index.fqn);
  }
  if (!plan.layouts) return names;
  for (const LayoutItem& rule : *plan.layouts) names.insert(rule.fqn);
  return names;
}

}  // namespace

void encode(Encoder& out, const SaveNotes& notes) {
  out.varint(notes.renamed.size());
  for (const auto& [name, key] : notes.renamed) {
    out.text(name);
    out.text(key);
  }
  encode(out, notes.used);
  out.blob(notes.structure);
}

Result<SaveNotes> decode_save_notes(Decoder& in) {
  SaveNotes notes;
  for (std::size_t left = TRY(in.count(2)); left > 0; --left) {
    std::string name = TRY(in.text());
    std::string key = TRY(in.text());
    notes.renamed.emplace_back(std::move(name), std::move(key));
  }
  notes.used = TRY(decode_flags(in));
  notes.structure = to_bytes(TRY(in.blob()));
  return notes;
}

std::vector<std::string> unmatched_rules(std::span<const SaveNotes> notes, const KeyMap& keys) {
  std::vector<std::string> rules;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto used = [i](const SaveNotes& note) { return i < note.used.size() && note.used[i]; };
    if (std::ranges::none_of(notes, used)) rules.push_back(keys.rule_text(i));
  }
  return rules;
}

Status check_origins(std::span<const SaveNotes> notes, std::span<const SavePlan> plans) {
  const auto renames = [](const SaveNotes& note) { return !note.renamed.empty(); };
  if (std::ranges::none_of(notes, renames)) return {};
  Origins origins;
  for (std::size_t r = 0; r < notes.size(); ++r) {
    const Rank rank{static_cast<std::int32_t>(r)};
    std::set<std::string> others = names_in(plans[r]);
    for (const auto& [name, key] : notes[r].renamed) {
      others.erase(name);
      origins.add(name, key, rank);
    }
    for (const std::string& name : others) origins.add(name, name, rank);
  }
  return MUTATE("save.origins_unchecked", origins.status(), Status());
}

Result<Bytes> merge_structures(std::span<const SaveNotes> notes) {
  std::optional<Structure> merged;
  std::set<Bytes> seen;  // most ranks have the same
  for (std::size_t r = 0; r < notes.size(); ++r) {
    if (notes[r].structure.empty() || !seen.insert(notes[r].structure).second) continue;
    Structure structure = TRY(decode_structure(notes[r].structure));
    if (!merged) {
      merged = std::move(structure);
    } else if (const Status done = merge(*merged, structure); !done) {
      return fail(within(done.error(), "plan save: the state of rank {} beside those of the ranks before it", r));
    }
  }
  return merged ? encode(*merged) : Bytes();
}

}  // namespace holdfast::protocol
