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
  auto boxes = local_boxes(layout, shape, rank);
  if (!boxes) return fail(within(std::move(boxes).error(), "state dict: tensor \"{}\"", name));
  TensorEntry entry{dtype, shape, !std::holds_alternative<ReplicatedLayout>(layout), {}};
  for (Box& box : *boxes) {
    const StridedBlock memory = packed_block(data, box.size, size_bytes(dtype), kind);
    data += memory.bytes();
    entry.shards.push_back({std::move(box), memory});
  }
  return add(std::move(name), std::move(entry));
}

Status StateDict::add_bytes(std::string name, Bytes value) { return insert(std::move(name), BytesEntry{std::move(value)}); }

const StateDict::Entry* StateDict::find(std::string_view name) const {
  const auto position = entries_.find(name);
  return position == entries_.end() ? nullptr : &position->second;
}

StateDict::Entry* StateDict::find(std::string_view name) {
  const auto position = entries_.find(name);
  return position == entries_.end() ? nullptr : &position->second;
}

Result<std::size_t> local_bytes(DType dtype, const Dims& shape, const Layout& layout, Rank rank) {
  const std::vector<Box> boxes = TRY(local_boxes(layout, shape, rank));
  std::size_t bytes = 0;
  for (const Box& box : boxes) bytes += static_cast<std::size_t>(box.volume()) * size_bytes(dtype);
  return bytes;
}

}  // namespace holdfast
