// Who reads what: the boxes a rank wants, met with the chunks that were saved, whatever layout either has.
#pragma once

#include <string>
#include <vector>

#include "impl/core/plan_values.h"
#include "impl/core/state_dict.h"

namespace holdfast::plan {

struct LoadPlanOptions {
  bool strict = true;  ///< a key of the destination that the checkpoint lacks is an error; else it is left as it is
};

/// The plan of one rank, in name order, then shard order, then chunk order. For each local box an item for each saved chunk that shares
/// an element with it; for each byte value one item. Hints: dest_index, the position of the shard; storage_index, of the chunk.
/// Every element of the destination is read exactly once, or there is no plan. No box is compared with all chunks: time goes with what is found.
/// Errors, every problem named with key, found and expected: invalid_argument for missing keys (all of them), a tensor where a byte value
/// was saved or the reverse, another shape, another dtype (nothing is ever cast); else corrupt when the saved chunks do not cover the
/// wanted box, overlap in it, or lie outside their own tensor.
Result<LoadPlan> local_load_plan(const StateDict& destination, const Metadata& metadata, LoadPlanOptions options = {});

/// The coordinator's word on the local plans: each rank reads what it asked for.
Result<std::vector<LoadPlan>> global_load_plan(std::vector<LoadPlan> local);

/// Keys of the checkpoint that the destination does not ask for, ascending.
std::vector<std::string> unexpected_keys(const StateDict& destination, const Metadata& metadata);

}  // namespace holdfast::plan
