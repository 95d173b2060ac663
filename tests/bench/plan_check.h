// Whether a plan of many ranks is right, found by other means than the planner's: what the rules say is enumerated, box by box.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "impl/plan/save_plan.h"

namespace holdfast::bench {

struct PlanFacts {
  std::vector<std::uint64_t> rank_bytes;     ///< that each rank writes
  std::vector<std::uint16_t> rank_segments;  ///< box number n of a tensor lies in segment n of its rank
  std::uint64_t chunks = 0;
  std::uint64_t bytes = 0;
};

/// Checks of every tensor that its boxes add up to it and are disjoint, that each lies inside what its rank holds, and that every rank of the mesh is told
/// to write it. Layouts that differ in nothing but the first rank of their mesh are enumerated once.
/// `held`: what the ranks listed, in name order. Errors: corrupt, with the tensor.
Result<PlanFacts> check_plan(const plan::GlobalSavePlan& global, std::span<const LayoutItem> held);

/// Plans a part of the tensors alone, with the planner and with the naive one, and compares who writes each element.
/// Errors: corrupt, with the tensor.
Status compare_with_naive(std::span<const SavePlan> local);

}  // namespace holdfast::bench
