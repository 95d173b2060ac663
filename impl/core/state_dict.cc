#include "impl/core/state_dict.h"

namespace holdfast {

Status StateDict::insert(std::string name, Entry entry) {
  const auto [position, inserted] = entries_.try_emplace(std::move(name), std::move(entry));
  if (!inserted) return fail(ErrorCode::invalid_argument, "state dict: the key \"{}\" is there already", position->first);
  return {};
}

Status StateDict::add(std::string name, TensorEntry entry) {
  TRY(checked_volume({entry.shape.data(), entry.shape.size()}));
  for (const LocalShard& shard : entry.shards) {
    if (!in_bounds(shard.box, entry.shape)) {
      return fail(ErrorCode::invalid_argument, "state dict: tensor \"{}\": box {} outside shape {}", name, to_string(shard.box),
                  to_string({entry.shape.data(), entry.shape.size()}));
    }
    if (shard.memory.sizes != shard.box.size || shard.memory.element_bytes != size_bytes(entry.dtype)) {
      return fail(ErrorCode::invalid_argument, "state dict: tensor \"{}\": memory of sizes {} and {}-byte elements for box {} of {}", name,
                  to_string({shard.memory.sizes.data(), shard.memory.sizes.size()}), shard.memory.element_bytes, to_string(shard.box),
                  to_string(entry.dtype));
    }
  }
  if (!entry.sharded && (entry.shards.size() != 1 || entry.shards[0].box != whole(entry.shape))) {
    return fail(ErrorCode::invalid_argument, "state dict: tensor \"{}\" is not sharded, but the rank does not hold exactly the whole of it",
                name);
  }
  return insert(std::move(name), std::move(entry));
}

Status StateDict::add(std::string name, std::byte* data, DType dtype, const Dims& shape, const Layout& layout, Rank rank, MemoryKind kind) {
  auto part = local_part(layout, shape, rank);
  if (!part) return fail(within(std::move(part).error(), "state dict: tensor \"{}\"", name));
  TensorEntry entry{dtype, shape, !std::holds_alternative<ReplicatedLayout>(layout), {}};
  if (const auto* rule = std::get_if<MeshLayout>(&layout)) entry.rule = *rule;
  const std::uint32_t element_bytes = size_bytes(dtype);
  for (LocalBox& local : *part) {
    StridedBlock memory{data + local.start * element_bytes, local.box.size, local.strides, element_bytes, kind};
    for (std::int64_t& stride : memory.strides_bytes) stride *= element_bytes;
    entry.shards.push_back({std::move(local.box), std::move(memory)});
  }
  return add(std::move(name), std::move(entry));
}

Status StateDict::add(std::string name, const StridedBlock& buffer, DType dtype, const Dims& global_shape,
                      std::span<const BufferPart> parts) {
  TensorEntry entry{dtype, global_shape, true, {}};
  for (const BufferPart& part : parts) {
    if (!in_bounds({part.local_offset, part.size}, buffer.sizes)) {
      return fail(ErrorCode::invalid_argument, "state dict: tensor \"{}\": part {} outside its buffer of {}", name,
                  to_string(Box{part.local_offset, part.size}), to_string({buffer.sizes.data(), buffer.sizes.size()}));
    }
    entry.shards.push_back({{part.global_offset, part.size}, narrow(buffer, part.local_offset, part.size)});
  }
  return add(std::move(name), std::move(entry));
}

Status StateDict::add_bytes(std::string name, Bytes value) { return insert(std::move(name), BytesEntry{std::move(value)}); }

Status StateDict::add_rank_bytes(std::string name, Bytes value, RankPolicy policy) {
  return insert(std::move(name), BytesEntry{std::move(value), policy});
}

const StateDict::Entry* StateDict::find(std::string_view name) const {
  const auto position = entries_.find(name);
  return position == entries_.end() ? nullptr : &position->second;
}

StateDict::Entry* StateDict::find(std::string_view name) {
  const auto position = entries_.find(name);
  return position == entries_.end() ? nullptr : &position->second;
}

Result<std::size_t> local_bytes(DType dtype, const Dims& shape, const Layout& layout, Rank rank) {
  const std::vector<LocalBox> part = TRY(local_part(layout, shape, rank));
  std::size_t bytes = 0;
  for (const LocalBox& local : part) bytes += static_cast<std::size_t>(local.box.volume()) * size_bytes(dtype);
  return bytes;
}

}  // namespace holdfast
