// The state of Llama-3.1-405B on the mesh of its paper (properties/specs): tensor parallelism 8, pipeline parallelism 16, ZeRO 1 over `dp`, AdamW with
// F32 states.
#pragma once

#include <vector>

#include "impl/core/plan_values.h"

namespace holdfast::bench {

inline constexpr std::int64_t llama_405b_ranks_a_dp = 128;  ///< tp 8 x pp 16

/// What the ranks hold, in name order: 1,137 bf16 parameters, replicated along dp, and of each the F32 states master, exp_avg and
/// exp_avg_sq, cut flat along dp. dp 70, 128 and 1,024 make 8,960, 16,384 and 131,072 ranks.
/// Errors: not_found, io_error, invalid_argument, when the files of properties/specs are not there or not sound.
Result<std::vector<LayoutItem>> llama_405b_held(std::int64_t dp);

/// The same without replicas, as the planner has it written.
Result<std::vector<LayoutItem>> llama_405b_written(std::int64_t dp);

}  // namespace holdfast::bench
