// A state dict made from what a checkpoint holds, with memory of its own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "impl/core/key_map.h"
#include "impl/core/layout.h"
#include "impl/core/nested.h"
#include "impl/core/plan_values.h"
#include "impl/core/state_dict.h"

namespace holdfast::protocol {

/// How a tensor of the checkpoint is to lie over the ranks that load it; none: no rank gets it. The same on every rank.
using ChooseLayout = std::function<std::optional<Layout>(std::string_view key, DType dtype, const Dims& shape)>;

struct NewStateOptions {
  ChooseLayout layout = {};                    ///< null: the whole of every tensor on every rank
  std::optional<RankPolicy> rank_values = {};  ///< of values that each rank saved its own of; none: the policy they were saved with
};

/// The memory is that of `memory`: it must live as long as the state dict is used. Movable.
struct NewState {
  StateDict state;
  std::vector<std::shared_ptr<std::byte[]>> memory = {};  ///< of host memory, one a tensor of which this rank holds something
  std::optional<Structure> structure = {};                ///< of a state that was nested when it was saved: for unflatten()
};

/// Room for this rank's part of everything that `only` selects, nothing loaded yet: memory is not initialised, values are empty. Values that each rank
/// saved its own of are there where this rank gets one.
/// Errors: out_of_memory, naming the tensor; invalid_argument for a layout that does not fit, or as key_to_load; corrupt as rank_values_of.
Result<NewState> make_state(const Metadata& metadata, const KeyFilter& only, const NewStateOptions& options, Rank rank, std::int32_t ranks);

}  // namespace holdfast::protocol
