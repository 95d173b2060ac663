// Which ranks of a load want which block of which chunk, counted element by element.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "impl/core/plan_values.h"

namespace holdfast::model {

/// By block of each chunk that is wanted. Blocks that hold parts of one element are wanted by the same ranks.
using BlocksWanted = std::map<MetadataIndex, std::vector<std::set<Rank>>>;

/// Plan i is rank i's own. Requires: plans for this metadata.
BlocksWanted blocks_wanted(std::span<const LoadPlan> plans, const Metadata& metadata, std::uint32_t block_bytes);

}  // namespace holdfast::model
