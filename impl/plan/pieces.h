// What ranks list box by box: every distinct piece is written once.
//
// DedupPolicy::least_bytes: pieces that only one rank holds count first. The others follow, the largest first, of equals by key and box. Let the *level*
// be the bytes of the whole save a rank, rounded up, or what the fullest rank has by then, if that is more.
//
// - A piece goes whole to the holder with the fewest bytes, of equals the lowest, if that stays within the level, or if it has less than 2 MiB, or one
//   row only. A row is an index of the first dimension longer than 1.
// - Else the level is raised, if need be, to where the piece would fill up its holders (the lowest level under which all of them have room for it), and
//   the holders, in the order of their bytes, take rows while these fit under the level: at least 1 MiB each; the last takes the rest, and a rest
//   under 1 MiB is not left to another.
#pragma once

#include <map>
#include <string_view>
#include <vector>

#include "impl/core/plan_values.h"
#include "impl/plan/problems.h"
#include "impl/plan/save_plan.h"
#include "impl/plan/validate.h"

namespace holdfast::plan {

/// Leaves in each plan the items that its rank writes, in their order, and adds their keys to the metadata. A split piece becomes shard items.
/// `groups` are the items of `plans` by key; `bytes`, what each rank writes besides. After a problem, `plans` and `metadata` are not to be used.
void choose_pieces(std::vector<SavePlan>& plans, std::map<std::string_view, std::vector<Holding>>& groups, DedupPolicy policy,
                   std::vector<std::uint64_t> bytes, Metadata& metadata, Problems& problems);

}  // namespace holdfast::plan
