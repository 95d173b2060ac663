// A state dict by the names that its entries have in a checkpoint: renamed, values of single ranks under keys of their own, only what is asked for.
// Tensors share the memory of the caller's state dict. Pure.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "impl/core/key_map.h"
#include "impl/core/plan_values.h"
#include "impl/core/rank_values.h"
#include "impl/core/state_dict.h"
#include "impl/protocol/key_report.h"

namespace holdfast::protocol {

struct SaveView {
  const StateDict* state = nullptr;  ///< `own`, or the caller's where that has the right names already
  std::shared_ptr<const StateDict> own = {};
  std::vector<std::pair<std::string, std::string>>
      renamed;             ///< name in the checkpoint and key of each entry that changed its name; in key order
  std::vector<bool> used;  ///< by rule of the map
};
/// Errors: invalid_argument as KeyMap::apply, and naming every key that begins with rank_value_prefix.
Result<SaveView> view_to_save(const StateDict& state, const KeyMap& keys, Rank rank, std::int32_t ranks);

struct LoadView {
  StateDict* state = nullptr;  ///< `own`, or the caller's where that will do
  std::shared_ptr<StateDict> own = {};
  std::map<std::string, std::string> values = {};  ///< key in the caller's state dict of each byte value in `own`, by name
  KeyNotes notes = {};

  /// Moves the byte values of `own` to where they belong; tensors are there already.
  void put_back(StateDict& destination);
};
/// Errors: invalid_argument as KeyMap::apply, and naming every value that is one for all ranks here and one for each there, and every policy that asks
/// for another number of ranks; corrupt as rank_values_of. Keys that the checkpoint lacks are no error here: strict planners refuse them.
Result<LoadView> view_to_load(StateDict& destination, const Metadata& metadata, const KeyMap& keys, const KeyFilter& only, Rank rank,
                              std::int32_t ranks);

}  // namespace holdfast::protocol
