#include "impl/core/plan_values.h"

#include <algorithm>

namespace holdfast {
namespace {

bool equal(const LayoutTable& a, const LayoutTable& b) {
  const bool none_a = !a || a->empty();
  const bool none_b = !b || b->empty();
  return none_a || none_b ? none_a == none_b : a == b || *a == *b;
}

void append_items(const LayoutItem& rule, Rank rank, std::vector<WriteItem>& items) {
  const auto position = rule.layout.mesh.position(rank);
  if (!position) return;
  // Of a tensor without elements the first position alone writes the one, empty, item.
  if (whole(rule.shape).empty() && *position != 0) return;
  std::uint32_t number = 0;
  for (LocalBox& local : local_part(rule.layout, rule.shape, *position)) {
    WriteItem item;
    item.type = WriteItemType::shard;
    item.index = {rule.fqn, local.box.offset, number++};
    item.chunk = std::move(local.box);
    item.dtype = rule.dtype;
    item.shape = rule.shape;
    items.push_back(std::move(item));
  }
}

}  // namespace

std::string to_string(const MetadataIndex& index) {
  if (!index.offset) return index.fqn;
  return index.fqn + "@" + to_string({index.offset->data(), index.offset->size()});
}

bool SavePlan::operator==(const SavePlan& other) const {
  return items == other.items && equal(layouts, other.layouts) && storage_data == other.storage_data && planner_data == other.planner_data;
}

SavePlan expand(SavePlan plan, Rank rank) {
  if (!plan.layouts) return plan;
  for (const LayoutItem& rule : *plan.layouts) append_items(rule, rank, plan.items);
  std::ranges::stable_sort(plan.items, {}, [](const WriteItem& item) -> const std::string& { return item.index.fqn; });
  plan.layouts.reset();
  return plan;
}

}  // namespace holdfast
