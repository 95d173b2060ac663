// Who writes what: each rank lists what it holds, the coordinator lets every distinct piece be written exactly once.
#pragma once

#include <vector>

#include "impl/core/plan_values.h"
#include "impl/core/state_dict.h"

namespace holdfast::plan {

/// The plan of one rank: an item for every box and every byte value it holds, in name order, boxes in their own order. index.offset is
/// the box's offset (zeros for a plain tensor), index.hint its position among the rank's shards. Empty boxes are listed as well; of a
/// sharded tensor of which the rank holds nothing, one empty item without a hint is listed (is_announcement), so that dtype and shape
/// are compared on all ranks and a tensor that nobody holds is noticed. Nothing empty survives global_save_plan.
/// Errors: invalid_argument when a box lies outside its tensor or two boxes of this rank overlap.
Result<SavePlan> local_save_plan(const StateDict& state);

struct GlobalSavePlan {
  std::vector<SavePlan> plans;  ///< one a rank: the items it must write, in the order of its own plan, its storage_data and planner_data
  Metadata metadata;            ///< planner_data stays empty: it is the caller's
};

/// Which of the ranks that hold a piece writes it.
enum class DedupPolicy : std::uint8_t {
  least_bytes,  ///< the one with the fewest bytes so far, of equals the lowest; pieces that only one rank holds count first,
                ///< then the largest go first (Graham's LPT rule: at most 4/3 of the best possible maximum when all hold all)
  lowest_rank,
};

/// The plan of the whole save, computed by the coordinator from the local plans in rank order. Pure: equal plans give equal results, in
/// whatever order the ranks list their items. Items with the same key and box on several ranks are replicas, trusted to hold equal values.
/// Empty boxes are dropped; of a tensor without elements exactly one item is kept.
/// Errors: invalid_argument naming every problem (validate.h).
Result<GlobalSavePlan> global_save_plan(std::vector<SavePlan> local, DedupPolicy policy = DedupPolicy::least_bytes);

}  // namespace holdfast::plan
