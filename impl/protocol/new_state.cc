#include "impl/protocol/new_state.h"

#include <new>

#include "impl/core/mutate.h"
#include "impl/core/rank_values.h"

namespace holdfast::protocol {
namespace {

Result<std::byte*> allocate(NewState& made, std::string_view key, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  std::shared_ptr<std::byte[]> memory(new (std::nothrow) std::byte[bytes]);
  if (!memory) return fail(ErrorCode::out_of_memory, "load \"{}\": no host memory for {} bytes", key, bytes);
  made.memory.push_back(std::move(memory));
  return made.memory.back().get();
}

Status add_tensor(NewState& made, const std::string& key, const TensorMetadata& tensor, const ChooseLayout& choose, Rank rank) {
  const std::optional<Layout> layout = choose ? choose(key, tensor.dtype, tensor.shape) : Layout(ReplicatedLayout{});
  if (!layout) return {};
  const auto bytes = local_bytes(tensor.dtype, tensor.shape, *layout, rank);
  if (!bytes) return fail(within(bytes.error(), "load \"{}\"", key));
  std::byte* data = TRY(allocate(made, key, *bytes));
  return made.state.add(key, data, tensor.dtype, tensor.shape, *layout, rank);
}

Status add_rank_values(NewState& made, const Metadata& metadata, const KeyFilter& only, const NewStateOptions& options, Rank rank,
                       std::int32_t ranks) {
  for (const auto& [name, saved] : TRY(rank_values_of(metadata))) {
    if (!only.admits(name)) continue;
    const RankPolicy policy = options.rank_values.value_or(saved.policy);
    const std::optional<std::string> key = TRY(key_to_load(name, saved, policy, rank, ranks));
    if (key && metadata.entries.contains(*key)) TRY(made.state.add_rank_bytes(name, {}, policy));
  }
  return {};
}

}  // namespace

Result<NewState> make_state(const Metadata& metadata, const KeyFilter& only, const NewStateOptions& options, Rank rank,
                            std::int32_t ranks) {
  NewState made;
  for (const auto& [key, entry] : metadata.entries) {
    if (parse_rank_value_key(key) || !only.admits(key)) continue;
    if (const auto* tensor = std::get_if<TensorMetadata>(&entry)) {
      TRY(add_tensor(made, key, *tensor, options.layout, rank));
    } else if (MUTATE("new_state.values_left_out", true, false)) {
      TRY(made.state.add_bytes(key, {}));
    }
  }
  TRY(add_rank_values(made, metadata, only, options, rank, ranks));
  if (is_structure(metadata.planner_data)) made.structure = TRY(decode_structure(metadata.planner_data));
  return made;
}

}  // namespace holdfast::protocol
