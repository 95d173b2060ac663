// Is what the ranks hold one consistent set of tensors? Every problem is named: key, ranks, values.
#pragma once

#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "impl/core/ids.h"
#include "impl/core/plan_values.h"
#include "impl/plan/problems.h"

namespace holdfast::plan {

/// Whether the chunks must be all of each tensor. A save needs `whole`, by one process as by many; a single rank's plan is `partial`.
enum class Coverage : std::uint8_t { whole, partial };

/// Checks plans as they are to be written, plan i by rank i: agreement, bounds, nothing written twice, coverage. What stays a rule is proved from the
/// rule: it fits, nothing is replicated, every rank of the mesh lists it. A partial plan is looked at box by box.
/// Errors: invalid_argument with the problems.
Status validate(std::span<const SavePlan> plans, Coverage coverage = Coverage::whole);

/// Checks the chunks of every tensor: bounds, no overlap, coverage. For metadata from outside, before it is trusted. Chunks by rule are proved from it.
/// Errors: corrupt with the problems.
Status validate(const Metadata& metadata);

// The parts, for planners.

/// An item of a rank's plan.
struct Holding {
  Rank rank;
  const WriteItem* item = nullptr;
};
/// The items of all plans by key; of one key in rank order, then plan order. Points into `plans`.
std::map<std::string_view, std::vector<Holding>> by_key(std::span<const SavePlan> plans);

/// True when the items of one key agree on all ranks (kind, dtype, shape, size of a byte value) and lie inside the shape.
bool check_agreement(std::string_view key, std::span<const Holding> holdings, Problems& problems);

/// Whether the boxes of `holdings`, which agree, are disjoint and, for Coverage::whole, all of the tensor.
void check_tiling(std::string_view key, std::span<const Holding> holdings, Coverage coverage, Problems& problems);

/// Whether the chunks of one tensor fit its shape, so that ChunkSet may be asked for them. Names the first that does not.
bool check_bounds(std::string_view key, const TensorMetadata& tensor, Problems& problems);

/// An item by which a rank says that it knows a tensor and holds nothing of it (local_save_plan).
bool is_announcement(const WriteItem& item);

}  // namespace holdfast::plan
