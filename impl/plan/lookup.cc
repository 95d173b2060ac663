#include "impl/plan/lookup.h"

#include <algorithm>

#include "impl/core/mutate.h"
#include "impl/plan/problems.h"

namespace holdfast::plan {
namespace {

tl::unexpected<Error> no_such_key(const MetadataIndex& index) { return fail(ErrorCode::not_found, "Could not find FQN: '{}'", index.fqn); }

tl::unexpected<Error> not_sharded(const MetadataIndex& index) {
  return fail(ErrorCode::invalid_argument, "FQN: '{}' is not a ShardedTensor, can't find by offset: '{}'", index.fqn, text(*index.offset));
}

}  // namespace

Result<const LocalShard*> find_shard(const StateDict& state, const MetadataIndex& index) {
  const StateDict::Entry* entry = state.find(index.fqn);
  if (!entry) return no_such_key(index);
  const auto* tensor = std::get_if<TensorEntry>(entry);
  if (!tensor && index.offset) return not_sharded(index);
  if (!tensor) return fail(ErrorCode::invalid_argument, "FQN: '{}' is a byte value, not a tensor", index.fqn);
  if (!tensor->sharded) {
    const bool at_origin = !index.offset || std::ranges::all_of(*index.offset, [](std::int64_t start) { return start == 0; });
    if (!at_origin) return not_sharded(index);
    if (tensor->shards.empty()) return fail(ErrorCode::not_found, "FQN: '{}' has no local data", index.fqn);
    return &tensor->shards.front();
  }
  if (!index.offset) {
    return fail(ErrorCode::invalid_argument, "Cannot lookup {} since its a ShardedTensor and no offset was provided", index.fqn);
  }
  if (index.hint && *index.hint < tensor->shards.size()) {
    const LocalShard& hinted = tensor->shards[*index.hint];
    if (MUTATE("plan.hint_trusted", hinted.box.offset == *index.offset, true)) return &hinted;
  }
  const auto found = std::ranges::find_if(tensor->shards, [&](const LocalShard& shard) { return shard.box.offset == *index.offset; });
  if (found == tensor->shards.end()) {
    return fail(ErrorCode::not_found, "Could not find shard at '{}' for FQN: '{}'", text(*index.offset), index.fqn);
  }
  return &*found;
}

Result<StridedBlock> find_memory(const StateDict& state, const WriteItem& item) {
  const StateDict::Entry* entry = state.find(item.index.fqn);
  if (!entry) return no_such_key(item.index);
  const auto* tensor = std::get_if<TensorEntry>(entry);
  if (!tensor) return fail(ErrorCode::invalid_argument, "FQN: '{}' is a byte value, not a tensor", item.index.fqn);
  if (!in_bounds(item.chunk, tensor->shape)) {
    return fail(ErrorCode::invalid_argument, "FQN: '{}': {} of a tensor of shape {}", item.index.fqn, to_string(item.chunk),
                text(tensor->shape));
  }
  const auto holds = [&](const LocalShard& shard) { return contains(shard.box, item.chunk); };
  const auto memory = [&](const LocalShard& shard) {
    Dims offset = item.chunk.offset;
    for (std::size_t d = 0; d < offset.size(); ++d) offset[d] -= shard.box.offset[d];
    return narrow(shard.memory, offset, item.chunk.size);
  };
  if (item.index.hint && *item.index.hint < tensor->shards.size() && holds(tensor->shards[*item.index.hint])) {
    return memory(tensor->shards[*item.index.hint]);
  }
  const auto found = std::ranges::find_if(tensor->shards, holds);
  if (found != tensor->shards.end()) return memory(*found);
  return fail(ErrorCode::not_found, "Could not find shard with '{}' for FQN: '{}'", to_string(item.chunk), item.index.fqn);
}

Result<const BytesEntry*> find_bytes(const StateDict& state, const MetadataIndex& index) {
  const StateDict::Entry* entry = state.find(index.fqn);
  if (!entry) return no_such_key(index);
  if (const auto* tensor = std::get_if<TensorEntry>(entry)) {
    return fail(ErrorCode::invalid_argument, "FQN: '{}' is a tensor of shape {}, not a byte value", index.fqn, text(tensor->shape));
  }
  if (index.offset) return not_sharded(index);
  return &std::get<BytesEntry>(*entry);
}

Result<BytesEntry*> find_bytes(StateDict& state, const MetadataIndex& index) {
  TRY(find_bytes(std::as_const(state), index));
  return std::get_if<BytesEntry>(state.find(index.fqn));
}

}  // namespace holdfast::plan
