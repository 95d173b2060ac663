// An oracle for plans, whoever made them: it shares no algorithm with the planner. Where the planner sweeps and compares volumes, this
// counts signed corners: the sum over all boxes of +1 and -1 at their corners determines how often each element is covered, exactly.
#pragma once

#include <span>
#include <vector>

#include "impl/core/plan_values.h"
#include "impl/core/state_dict.h"
#include "impl/plan/finding.h"
#include "impl/plan/save_plan.h"

namespace holdfast::plan {

/// Checks one rank's load plan against what it is for. Of the destination only names, shapes, dtypes and boxes are looked at.
/// Findings, all errors: "unknown-destination", "unknown-source", "kind", "dtype", "shape", "empty", "out-of-bounds", "misplaced" (source
/// and destination are different places of the tensor), "overlap" and "uncovered" (a destination element read more than once, or never).
/// "metadata" (chunks that cannot be), "dimensions" (over 16: not counted).
/// Keys that the checkpoint lacks may be left out of a plan (LoadPlanOptions::strict = false).
std::vector<Finding> check_load_plan(const LoadPlan& plan, const StateDict& destination, const Metadata& metadata);

struct SavePlanCheck {
  std::vector<Finding> findings;
  double imbalance = 1;  ///< most bytes a rank writes / mean over all ranks; 1 when nothing is written
};

/// Checks a global save plan against the local plans it was made of. Rules are enumerated, rank by rank.
/// Findings, errors: "ranks" (not one plan a rank), "not-held" (an item that its rank did not offer, nor is it inside one), "owner" (written more than once),
/// "out-of-bounds", "overlap", "uncovered" (an element or a byte value that no rank writes), "metadata" (it says something else).
/// Warnings: "imbalance" above 2.
SavePlanCheck check_save_plan(const GlobalSavePlan& global, std::span<const SavePlan> local);

}  // namespace holdfast::plan
