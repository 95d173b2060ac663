// From the name of a stored thing to the local memory it belongs to, with PyTorch DCP's rules and words (find_state_dict_object).
#pragma once

#include "impl/core/plan_values.h"
#include "impl/core/state_dict.h"

namespace holdfast::plan {

/// The local shard that `index` names. Plain tensors are found without an offset or with one of zeros; sharded ones by the hint when the
/// shard there has that offset, else by search.
/// Errors: not_found when there is no such key or no shard at the offset; invalid_argument when the index does not suit the entry.
Result<const LocalShard*> find_shard(const StateDict& state, const MetadataIndex& index);

/// The memory of the box that `item` is to write: a shard of this rank, or a box inside one. item.index.hint is tried first, and only a hint.
/// Errors: not_found when there is no such key or no shard holds the box; invalid_argument when the entry is a byte value, or of other dimensions.
Result<StridedBlock> find_memory(const StateDict& state, const WriteItem& item);

/// The byte value that `index` names.
/// Errors: not_found when there is no such key; invalid_argument for a tensor or an index with an offset.
Result<const BytesEntry*> find_bytes(const StateDict& state, const MetadataIndex& index);
Result<BytesEntry*> find_bytes(StateDict& state, const MetadataIndex& index);

}  // namespace holdfast::plan
