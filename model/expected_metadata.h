// What a checkpoint's metadata must say, by enumeration over the ranks.
#pragma once

#include "impl/core/plan_values.h"
#include "model/global_state.h"

namespace holdfast::model {

/// The entries of the checkpoint that `world_size` ranks save of `state`: of each tensor every box that some rank holds, once, without the
/// empty ones; of a tensor without elements the lowest box alone. A tensor of which no rank holds anything makes the save fail: none then.
std::optional<Metadata> expected_metadata(const GlobalState& state, const Layouts& layouts, int world_size);

}  // namespace holdfast::model
