#include "impl/protocol/default_planner.h"

#include "impl/plan/lookup.h"

namespace holdfast::protocol {

Status DefaultSavePlanner::set_up_planner(const StateDict& state, Rank rank, bool /*is_coordinator*/) {
  state_ = &state;
  rank_ = rank;
  return {};
}

Result<SavePlan> DefaultSavePlanner::create_local_plan() { return plan::local_save_plan(*state_, rank_); }

Result<plan::GlobalSavePlan> DefaultSavePlanner::create_global_plan(std::vector<SavePlan> local_plans) {
  return plan::global_save_plan(std::move(local_plans), dedup_);
}

Result<SavePlan> DefaultSavePlanner::finish_plan(SavePlan plan) { return plan; }

Result<SavePlanner::Data> DefaultSavePlanner::resolve_data(const WriteItem& item) {
  if (item.type == WriteItemType::bytes) {
    const auto* entry = state_->find(item.index.fqn);
    const auto* value = entry ? std::get_if<BytesEntry>(entry) : nullptr;
    if (!value) return fail(ErrorCode::invalid_argument, "save \"{}\": the state dict holds no byte value of that name", item.index.fqn);
    return Data(ByteView(value->value));
  }
  return Data(TRY(plan::find_memory(*state_, item)));
}

Status DefaultLoadPlanner::set_up_planner(StateDict& destination, const Metadata& metadata, bool /*is_coordinator*/) {
  destination_ = &destination;
  metadata_ = &metadata;
  uploads_.clear();
  owners_.clear();
  resolved_.clear();
  values_.clear();
  return {};
}

Result<LoadPlan> DefaultLoadPlanner::create_local_plan() { return plan::local_load_plan(*destination_, *metadata_, options_); }

Result<std::vector<LoadPlan>> DefaultLoadPlanner::create_global_plan(std::vector<LoadPlan> local_plans) {
  return plan::global_load_plan(std::move(local_plans));
}

Result<LoadPlan> DefaultLoadPlanner::finish_plan(LoadPlan plan) { return plan; }

Result<DefaultLoadPlanner::Target> DefaultLoadPlanner::target(const ReadItem& item) const {
  const StateDict::Entry* entry = std::as_const(*destination_).find(item.dest_index.fqn);
  const auto* tensor = entry ? std::get_if<TensorEntry>(entry) : nullptr;
  if (!tensor)
    return fail(ErrorCode::invalid_argument, "load {}: the destination holds no tensor of that name", to_string(item.dest_index));
  const LocalShard* shard = TRY(plan::find_shard(*destination_, item.dest_index));
  const Box wanted{item.dest_offset, item.lengths};
  if (!in_bounds(wanted, shard->box.size)) {
    return fail(ErrorCode::invalid_argument, "load {}: the plan asks for {} of a shard of size {}", to_string(item.dest_index),
                to_string(wanted), to_string({shard->box.size.data(), shard->box.size.size()}));
  }
  return Target{tensor, shard};
}

Result<StridedBlock> DefaultLoadPlanner::resolve_tensor(const ReadItem& item) {
  const Target to = TRY(target(item));
  StridedBlock block = packed_block(nullptr, item.lengths, size_bytes(to.entry->dtype));
  std::shared_ptr<Bytes>& bytes = resolved_[{item.dest_index, item.dest_offset}];
  if (!bytes) bytes = std::make_shared<Bytes>(block.bytes());
  block.data = bytes->data();
  return block;
}

Status DefaultLoadPlanner::commit_tensor(const ReadItem& item) {
  const auto resolved = resolved_.extract({item.dest_index, item.dest_offset});
  if (resolved.empty()) return fail(ErrorCode::invalid_argument, "load {}: committed before it was resolved", to_string(item.dest_index));
  const Target to = TRY(target(item));
  const StridedBlock memory = packed_block(resolved.mapped()->data(), item.lengths, size_bytes(to.entry->dtype));
  return DefaultLoadPlanner::load_tensor(item, {{Dims(item.lengths.size(), 0), memory}}, resolved.mapped());
}

Status DefaultLoadPlanner::load_tensor(const ReadItem& item, const std::vector<Part>& parts, std::shared_ptr<const void> owner) {
  const Target to = TRY(target(item));
  for (const Part& part : parts) {
    Dims at = item.dest_offset;
    for (std::size_t d = 0; d < at.size(); ++d) at[d] += part.offset[d];
    Box box{to.shard->box.offset, part.memory.sizes};
    for (std::size_t d = 0; d < at.size(); ++d) box.offset[d] += at[d];
    StridedBlock destination = narrow(to.shard->memory, at, part.memory.sizes);
    uploads_.push_back({part.memory, std::move(box), to.entry->shape, to.entry->dtype, std::move(destination)});
  }
  if (owners_.empty() || owners_.back() != owner) owners_.push_back(std::move(owner));
  return {};
}

Status DefaultLoadPlanner::load_bytes(const ReadItem& item, Bytes value) {
  values_[item.dest_index.fqn] = std::move(value);
  return {};
}

Status DefaultLoadPlanner::place(const port::Env& env, port::Deadline deadline) {
  auto owners = std::make_shared<std::vector<std::shared_ptr<const void>>>(std::exchange(owners_, {}));
  TRY(upload(env, after_, std::exchange(uploads_, {}), std::move(owners), place_alone_bytes_max_, deadline));
  for (auto& [key, value] : std::exchange(values_, {})) std::get<BytesEntry>(*destination_->find(key)).value = std::move(value);
  return {};
}

}  // namespace holdfast::protocol
