// Who writes what: each rank lists what it holds, the coordinator lets every distinct piece be written exactly once.
#pragma once

#include <optional>
#include <vector>

#include "impl/core/plan_values.h"
#include "impl/core/state_dict.h"

namespace holdfast::plan {

/// The plan of one rank: an item for every box and every byte value it holds, in name order, boxes in their own order. index.offset is
/// the box's offset (zeros for a plain tensor), index.hint its position among the rank's shards. Empty boxes are listed as well; of a
/// sharded tensor of which the rank holds nothing, one empty item without a hint is listed (is_announcement), so that dtype and shape
/// are compared on all ranks and a tensor that nobody holds is noticed. Nothing empty survives global_save_plan.
/// A tensor with a rule is listed in `layouts` instead, in the mesh or not. Without `rank`, this process's, rules are not used: every box is listed.
/// Errors: invalid_argument when a box lies outside its tensor, two boxes of this rank overlap, or its boxes are not those of its rule.
Result<SavePlan> local_save_plan(const StateDict& state, std::optional<Rank> rank = std::nullopt);

struct GlobalSavePlan {
  std::vector<SavePlan> plans;  ///< one a rank: what it must write; items in the order of its own plan, its storage_data and planner_data
  Metadata metadata;            ///< planner_data stays empty: it is the caller's
};

/// Which of the ranks that hold a piece writes it.
enum class DedupPolicy : std::uint8_t {
  least_bytes,  ///< spread by bytes, large pieces split where it helps: ownership.h for rules, pieces.h for what is listed box by box
  lowest_rank,
};

/// The plan of the whole save, computed by the coordinator from the local plans in rank order. Pure: equal plans give equal results, in
/// whatever order the ranks list their items. Items with the same key and box on several ranks are replicas, trusted to hold equal values.
/// Empty boxes are dropped; of a tensor without elements exactly one item is kept.
/// Tensors that all their ranks list by one rule stay a rule: the plans of ranks with equal tables share one table of what each of them writes, and the
/// metadata holds the rule. A tensor that ranks list by different rules, or some by a rule and some by boxes, is planned box by box.
/// Errors: invalid_argument naming every problem (validate.h, rule_tables.h).
Result<GlobalSavePlan> global_save_plan(std::vector<SavePlan> local, DedupPolicy policy = DedupPolicy::least_bytes);

}  // namespace holdfast::plan
