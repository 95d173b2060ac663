// The state of Llama-3.1-405B as layout rules: tensor parallelism 8, pipeline parallelism 16, ZeRO 1 over `dp` (Megatron's distributed
// optimizer). Sources: names and shapes: Llama Team, The Llama 3 Herd of Models (arXiv 2407.21783), Table 3, and the model card; mesh and
// pipeline: section 3.3.2 and Table 4, ranks ordered dp, pp, tp, the last fastest, chunks of one layer dealt out over the stages;
// optimizer: Megatron-LM (megatron-core 0.16.1), one bucket a stage.
#pragma once

#include <vector>

#include "impl/core/plan_values.h"

namespace holdfast::bench {

inline constexpr std::int64_t llama_405b_ranks_a_dp = 128;  ///< tp 8 x pp 16

/// What the ranks hold, in name order: 1,137 bf16 parameters, replicated along dp, and of each the F32 states master, exp_avg and
/// exp_avg_sq, cut flat along dp. dp 70, 128 and 1,024 make 8,960, 16,384 and 131,072 ranks.
std::vector<LayoutItem> llama_405b_held(std::int64_t dp);

/// The same without replicas: what is replicated is cut once more, in whole rows, over the ranks that hold it.
std::vector<LayoutItem> llama_405b_written(std::int64_t dp);

}  // namespace holdfast::bench
