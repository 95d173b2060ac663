// Which keys of a load found no partner: told by every rank, added up by the coordinator, the same on all ranks. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "impl/core/encoding.h"
#include "impl/core/key_map.h"
#include "impl/core/plan_values.h"

namespace holdfast::protocol {

/// Of all ranks together; each list ascending and whole.
struct KeyReport {
  std::vector<std::string> missing;     ///< keys of some rank's destination that the checkpoint lacks: left as they were
  std::vector<std::string> unexpected;  ///< keys of the checkpoint that were selected, and that no rank has a place for
  std::vector<std::string> unmatched;   ///< rules, as rename prefix "a." to "b." or select key "c", that applied to no key of any rank
  bool operator==(const KeyReport&) const = default;
};
void encode(Encoder& out, const KeyReport& report);
Result<KeyReport> decode_key_report(Decoder& in);

/// What one rank tells, beside its plan.
struct KeyNotes {
  std::vector<std::string> missing;
  std::vector<std::uint64_t> unasked;  ///< numbers, in name order, of the keys of the checkpoint that the rank has no place for; ascending
  std::vector<bool> used;              ///< by rule, those of the map before those of the filter: it applied to some key
  bool operator==(const KeyNotes&) const = default;
};
void encode(Encoder& out, const KeyNotes& notes);
/// Errors: corrupt, also for a number that is not below `keys`, the number of keys of the checkpoint.
Result<KeyNotes> decode_key_notes(Decoder& in, std::uint64_t keys);

/// Requires: notes of every rank, decoded for this metadata. Errors: corrupt when a rank has another number of rules.
Result<KeyReport> add_up(const std::vector<KeyNotes>& notes, const Metadata& metadata, const KeyMap& keys, const KeyFilter& only);

// Lists on the wire.
void encode(Encoder& out, const std::vector<bool>& flags);
Result<std::vector<bool>> decode_flags(Decoder& in);
void encode(Encoder& out, const std::vector<std::string>& texts);
Result<std::vector<std::string>> decode_texts(Decoder& in);

}  // namespace holdfast::protocol
