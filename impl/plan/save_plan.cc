#include "impl/plan/save_plan.h"

#include <algorithm>
#include <utility>

#include "impl/core/mutate.h"
#include "impl/plan/ownership.h"
#include "impl/plan/pieces.h"
#include "impl/plan/problems.h"
#include "impl/plan/rule_tables.h"
#include "impl/plan/tiling.h"
#include "impl/plan/validate.h"

namespace holdfast::plan {
namespace {

void add_tensor(SavePlan& plan, const std::string& name, const TensorEntry& tensor) {
  WriteItem item;
  item.type = tensor.sharded ? WriteItemType::shard : WriteItemType::tensor;
  item.index.fqn = name;
  item.dtype = tensor.dtype;
  item.shape = tensor.shape;
  if (tensor.shards.empty() && !tensor.shape.empty()) {
    item.chunk = {Dims(tensor.shape.size(), 0), Dims(tensor.shape.size(), 0)};
    item.index.offset = item.chunk.offset;
    plan.items.push_back(std::move(item));
    return;
  }
  for (std::size_t i = 0; i < tensor.shards.size(); ++i) {
    item.chunk = tensor.shards[i].box;
    item.index.offset = item.chunk.offset;
    item.index.hint = static_cast<std::uint32_t>(i);
    plan.items.push_back(item);
  }
}

/// A rank finds its own mistakes, so that the failure names it and not the coordinator.
void check_local_tensor(const std::string& name, const TensorEntry& tensor, Problems& problems) {
  std::vector<Box> boxes;
  for (const LocalShard& shard : tensor.shards) {
    if (!in_bounds(shard.box, tensor.shape)) {
      problems.add("\"{}\": local box {} outside shape {}", name, to_string(shard.box), text(tensor.shape));
      return;
    }
    boxes.push_back(shard.box);
  }
  for (const Overlap& overlap : find_overlaps(boxes)) {
    problems.add("\"{}\": local boxes {} and {} overlap", name, to_string(boxes[overlap.first]), to_string(boxes[overlap.second]));
  }
}

/// Whether the rank holds its part by the rule, in its order.
void check_ruled_tensor(const std::string& name, const TensorEntry& tensor, Rank rank, Problems& problems) {
  const MeshLayout& rule = *tensor.rule;
  if (const Status status = check(rule, tensor.shape); !status) return problems.add("\"{}\": {}", name, status.error().message);
  const auto position = rule.mesh.position(rank);
  const std::vector<LocalBox> part = position ? local_part(rule, tensor.shape, *position) : std::vector<LocalBox>();
  if (part.size() != tensor.shards.size()) {
    return problems.add("\"{}\": {} local boxes, but by {} rank {} holds {}", name, tensor.shards.size(), to_string(rule), rank,
                        part.size());
  }
  for (std::size_t i = 0; i < part.size(); ++i) {
    if (MUTATE("plan.rule_shards_unchecked", part[i].box == tensor.shards[i].box, true)) continue;
    return problems.add("\"{}\": local box {} is {}, but by {} rank {} holds {}", name, i, to_string(tensor.shards[i].box), to_string(rule),
                        rank, to_string(part[i].box));
  }
}

/// Gives every plan the table of what its rank writes by rule, one for all ranks of a class, and the metadata the rules.
void write_by_rule(const RuleTables& tables, std::span<const RuledTensor> ruled, DedupPolicy policy, GlobalSavePlan& global) {
  std::vector<const LayoutItem*> items;
  for (const RuledTensor& tensor : ruled) items.push_back(tensor.item);
  std::vector<MeshLayout> writers = writer_layouts(items, policy);
  std::vector<std::vector<LayoutItem>> written(tables.classes().size());
  for (std::size_t i = 0; i < ruled.size(); ++i) {
    const LayoutItem& item = *items[i];
    for (const std::int32_t to : ruled[i].classes)
      written[static_cast<std::size_t>(to)].push_back({item.fqn, item.dtype, item.shape, writers[i]});
    ChunkSet chunks(std::move(writers[i]), item.shape);
    global.metadata.entries.emplace(item.fqn, TensorMetadata{item.dtype, item.shape, std::move(chunks)});
  }
  std::vector<LayoutTable> shared;
  for (std::size_t c = 0; c < written.size(); ++c) {
    const LayoutTable& listed = tables.classes()[c].table;
    const bool same = *listed == written[c];
    shared.push_back(written[c].empty() ? nullptr : same ? listed : std::make_shared<const std::vector<LayoutItem>>(std::move(written[c])));
  }
  for (std::size_t r = 0; r < global.plans.size(); ++r) {
    const std::int32_t from = tables.class_of(Rank{static_cast<std::int32_t>(r)});
    global.plans[r].layouts = from == RuleTables::none ? nullptr : shared[static_cast<std::size_t>(from)];
  }
}

}  // namespace

Result<SavePlan> local_save_plan(const StateDict& state, std::optional<Rank> rank) {
  SavePlan plan;
  Problems problems;
  std::vector<LayoutItem> ruled;
  for (const auto& [name, entry] : state.entries()) {
    const auto* tensor = std::get_if<TensorEntry>(&entry);
    if (tensor && tensor->rule && rank) {
      check_ruled_tensor(name, *tensor, *rank, problems);
      ruled.push_back({name, tensor->dtype, tensor->shape, *tensor->rule});
    } else if (tensor) {
      check_local_tensor(name, *tensor, problems);
      add_tensor(plan, name, *tensor);
    } else {
      const Bytes& value = std::get<BytesEntry>(entry).value;
      WriteItem item;
      item.index.fqn = name;
      item.nbytes = value.size();
      item.digest = block_digest(value);
      plan.items.push_back(std::move(item));
    }
  }
  TRY(problems.status(ErrorCode::invalid_argument, "plan this rank's part of the save"));
  if (!ruled.empty()) plan.layouts = std::make_shared<const std::vector<LayoutItem>>(std::move(ruled));
  return plan;
}

Result<GlobalSavePlan> global_save_plan(std::vector<SavePlan> local, DedupPolicy policy) {
  GlobalSavePlan global;
  Problems problems;
  const RuleTables tables(local);
  auto groups = by_key(local);
  const Agreement agreement = agree(tables, groups, problems);
  TRY(problems.status(ErrorCode::invalid_argument, "plan save"));
  if (!agreement.listed.empty()) {
    list_boxes(local, tables, agreement.listed);
    groups = by_key(local);
  }
  for (const RuledTensor& tensor : agreement.ruled) groups.erase(tensor.item->fqn);  // announcements
  choose_pieces(local, groups, policy, even_shares(tables, agreement.ruled), global.metadata, problems);
  TRY(problems.status(ErrorCode::invalid_argument, "plan save"));
  global.plans = std::move(local);
  write_by_rule(tables, agreement.ruled, policy, global);
  return global;
}

}  // namespace holdfast::plan
