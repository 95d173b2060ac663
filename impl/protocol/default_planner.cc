#include "impl/protocol/default_planner.h"

#include "impl/plan/lookup.h"
#include "impl/protocol/staging.h"

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
  staged_.clear();
  values_.clear();
  return {};
}

Result<LoadPlan> DefaultLoadPlanner::create_local_plan() { return plan::local_load_plan(*destination_, *metadata_, options_); }

Result<std::vector<LoadPlan>> DefaultLoadPlanner::create_global_plan(std::vector<LoadPlan> local_plans) {
  return plan::global_load_plan(std::move(local_plans));
}

Result<LoadPlan> DefaultLoadPlanner::finish_plan(LoadPlan plan) { return plan; }

Result<DefaultLoadPlanner::Staged*> DefaultLoadPlanner::staged(const MetadataIndex& index) {
  StateDict::Entry* entry = destination_->find(index.fqn);
  auto* tensor = entry ? std::get_if<TensorEntry>(entry) : nullptr;
  if (!tensor) return fail(ErrorCode::invalid_argument, "load {}: the destination holds no tensor of that name", to_string(index));
  const LocalShard* found = TRY(plan::find_shard(*destination_, index));
  const auto number = static_cast<std::size_t>(found - tensor->shards.data());
  Staged& staged = staged_[{index.fqn, number}];
  if (!staged.shard) staged = {index.fqn, tensor, &tensor->shards[number], Bytes(found->memory.bytes())};
  return &staged;
}

Result<StridedBlock> DefaultLoadPlanner::resolve_tensor(const ReadItem& item) {
  Staged& into = *TRY(staged(item.dest_index));
  const Box wanted{item.dest_offset, item.lengths};
  if (!in_bounds(wanted, into.shard->box.size)) {
    return fail(ErrorCode::invalid_argument, "load {}: the plan asks for {} of a shard of size {}", to_string(item.dest_index),
                to_string(wanted), to_string({into.shard->box.size.data(), into.shard->box.size.size()}));
  }
  return narrow(packed_block(into.bytes.data(), into.shard->box.size, size_bytes(into.entry->dtype)), item.dest_offset, item.lengths);
}

Status DefaultLoadPlanner::commit_tensor(const ReadItem& /*item*/) { return {}; }

Status DefaultLoadPlanner::load_bytes(const ReadItem& item, Bytes value) {
  values_[item.dest_index.fqn] = std::move(value);
  return {};
}

Status DefaultLoadPlanner::place(const port::Env& env, port::Deadline deadline) {
  auto held = std::make_shared<std::map<std::pair<std::string, std::size_t>, Staged>>(std::move(staged_));
  std::vector<StagedBox> boxes;
  for (auto& [where, staged] : *held) {
    boxes.push_back({staged.shard->memory, staged.shard->box, staged.entry->shape, staged.entry->dtype, staged.bytes});
  }
  TRY(upload(env.device, boxes, held, deadline));
  for (auto& [key, value] : values_) std::get<BytesEntry>(*destination_->find(key)).value = std::move(value);
  return {};
}

}  // namespace holdfast::protocol
