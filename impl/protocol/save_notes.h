// What a rank tells of a save beside its plan, and what the coordinator makes of it: names that were given, the nesting of the state. Pure.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/encoding.h"
#include "impl/core/key_map.h"
#include "impl/core/plan_values.h"

namespace holdfast::protocol {

struct SaveNotes {
  std::vector<std::pair<std::string, std::string>> renamed;  ///< SaveView::renamed
  std::vector<bool> used;                                    ///< SaveView::used
  Bytes structure;                                           ///< encoded, with the names of the checkpoint; empty: the state is not nested
  bool operator==(const SaveNotes&) const = default;
};
void encode(Encoder& out, const SaveNotes& notes);
Result<SaveNotes> decode_save_notes(Decoder& in);

/// The rules of `keys` that applied on no rank.
std::vector<std::string> unmatched_rules(std::span<const SaveNotes> notes, const KeyMap& keys);

/// Whether each name stands for the same key on all ranks. plans[r] are rank r's. Errors: invalid_argument naming every name that does not, with keys and
/// ranks: the tensors under it would be taken for parts of one.
Status check_origins(std::span<const SaveNotes> notes, std::span<const SavePlan> plans);

/// The structures of all ranks as one; empty when no rank has one. Errors: invalid_argument, naming the first rank that contradicts those before it.
Result<Bytes> merge_structures(std::span<const SaveNotes> notes);

}  // namespace holdfast::protocol
