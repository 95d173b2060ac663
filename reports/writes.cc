#include "reports/writes.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "impl/core/check.h"
#include "impl/format/file_names.h"
#include "reports/text.h"

namespace holdfast::reports {
namespace {

/// Ranks that hold the same part, and which, where it is one part that all of a mesh hold.
void note_holders(const MeshLayout& held, const Dims& shape, Writes::Tensor& tensor) {
  const std::vector<int> axes = replicated_axes(held);
  tensor.holders = 1;
  for (const int axis : axes) tensor.holders *= static_cast<std::size_t>(held.mesh.axes[static_cast<std::size_t>(axis)].size);
  const auto ranks = static_cast<std::size_t>(held.mesh.size());
  if (whole(shape).empty()) tensor.holders = ranks;
  if (tensor.holders < 2 || tensor.holders != ranks) return;
  std::vector<std::size_t> all;
  for (std::int64_t p = 0; p < held.mesh.size(); ++p) all.push_back(static_cast<std::size_t>(held.mesh.rank(p).value));
  std::ranges::sort(all);
  tensor.holder_ranks = rank_ranges(all, 4);
}

using RuleByName = std::map<std::string_view, const LayoutItem*>;

RuleByName rules_by_name(const std::vector<SavePlan>& plans) {
  RuleByName rules;
  std::set<const void*> seen;
  for (const SavePlan& plan : plans) {
    if (!plan.layouts || !seen.insert(plan.layouts.get()).second) continue;
    for (const LayoutItem& item : *plan.layouts) rules.try_emplace(item.fqn, &item);
  }
  return rules;
}

using Holders = std::map<MetadataIndex, std::vector<std::size_t>>;

/// Who holds what, of items and of the boxes of tensors that were planned by rule and are written otherwise.
Holders holders_of(const std::vector<SavePlan>& local) {
  Holders holders;
  for (std::size_t rank = 0; rank < local.size(); ++rank) {
    for (const WriteItem& item : local[rank].items) {
      std::vector<std::size_t>& ranks = holders[item.index];
      if (ranks.empty() || ranks.back() != rank) ranks.push_back(rank);
    }
  }
  return holders;
}

}  // namespace

std::uint32_t Writes::size_number(const Dims& size) {
  const auto [number, added] = size_numbers_.emplace(size, static_cast<std::uint32_t>(sizes_.size()));
  if (added) sizes_.push_back(size);
  return number->second;
}

void Writes::add_rule(const LayoutItem& written, const MeshLayout* held) {
  Rule rule;
  rule.tensor = static_cast<std::uint32_t>(tensors_.size());
  rule.first_rank = static_cast<std::uint32_t>(written.layout.mesh.first);
  rule.element_bytes = size_bytes(written.dtype);
  rule.footprint = &footprints_.of(written.layout, written.shape);
  for (const Dims& size : rule.footprint->sizes) rule.sizes.push_back(size_number(size));
  Tensor tensor;
  tensor.name = written.fqn;
  tensor.family = family(written.fqn);
  tensor.dtype = to_string(written.dtype);
  tensor.bytes = static_cast<std::uint64_t>(rule.footprint->elements) * rule.element_bytes;
  if (held) note_holders(*held, written.shape, tensor);
  if (rule.footprint->overlap) {
    faults_.push_back({written.fqn, true});
  } else if (rule.footprint->elements != whole(written.shape).volume()) {
    faults_.push_back({written.fqn, false});
  }
  tensors_.push_back(std::move(tensor));
  rules_.push_back(std::move(rule));
}

void Writes::add_item(std::size_t rank, const WriteItem& item, const std::vector<std::size_t>& holders, std::optional<std::uint32_t> file) {
  CHECK(rank < ranks_, "rank {} of {}", rank, ranks_);
  const bool is_value = item.type == WriteItemType::bytes;
  const std::string held_by = holders.empty() ? "" : rank_ranges(holders, 4) + fmt::format("/{}", holders.size());
  const auto [number, added] = tensor_numbers_.try_emplace({item.index.fqn, held_by}, static_cast<std::uint32_t>(tensors_.size()));
  if (added) {
    Tensor tensor;
    tensor.name = item.index.fqn;
    tensor.family = family(item.index.fqn);
    if (!is_value) tensor.dtype = to_string(item.dtype);
    tensor.holders = holders.size();
    if (holders.size() > 1) tensor.holder_ranks = rank_ranges(holders, 4);
    tensors_.push_back(std::move(tensor));
  }
  Part part;
  part.rank = static_cast<std::uint32_t>(rank);
  part.tensor = number->second;
  part.file = file ? *file : is_value ? value_file + values_[rank]++ : boxes_[{rank, item.index.fqn}]++;
  part.size = is_value ? 0 : size_number(item.chunk.size);
  part.bytes = item.stored_bytes();
  tensors_[part.tensor].bytes += part.bytes;
  parts_.push_back(part);
}

void Writes::for_each(const std::function<void(const Part&)>& visit) const {
  for (const Part& part : parts_) visit(part);
  for (const Rule& rule : rules_) {
    for (const Footprint::Part& part : rule.footprint->parts) {
      visit({rule.first_rank + part.rank, part.number, rule.tensor, rule.sizes[part.size],
             static_cast<std::uint64_t>(part.elements) * rule.element_bytes});
    }
  }
}

std::string Writes::file_name(std::uint32_t rank, std::uint32_t file) {
  const Rank writer{static_cast<std::int32_t>(rank)};
  return file >= value_file ? format::value_name(writer, file - value_file) : format::segment_name(format::segment_of_box(writer, file));
}

Writes writes_of(const std::vector<SavePlan>& plans, const std::vector<SavePlan>* local) {
  Writes writes(plans.size());
  const RuleByName written = rules_by_name(plans);
  const RuleByName held = local ? rules_by_name(*local) : RuleByName();
  for (const auto& [name, item] : written) {
    const auto before = held.find(name);
    writes.add_rule(*item, before == held.end() ? nullptr : &before->second->layout);
  }
  const Holders holders = local ? holders_of(*local) : Holders();
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    for (const WriteItem& item : plans[rank].items) {
      const auto found = holders.find(item.index);
      writes.add_item(rank, item, found == holders.end() ? std::vector<std::size_t>() : found->second);
    }
  }
  return writes;
}

Spread spread_of(std::vector<std::uint64_t> values) {
  Spread spread;
  if (values.empty()) return spread;
  std::ranges::sort(values);
  spread.min = values.front();
  spread.median = values[(values.size() - 1) / 2];
  spread.max = values.back();
  const std::uint64_t sum = std::accumulate(values.begin(), values.end(), std::uint64_t{0});
  if (sum > 0) spread.imbalance = static_cast<double>(spread.max) * static_cast<double>(values.size()) / static_cast<double>(sum);
  return spread;
}

SaveSummary summarise(const Writes& writes) {
  SaveSummary summary;
  summary.rank_bytes.assign(writes.ranks(), 0);
  std::vector<std::uint32_t> segments(writes.ranks(), 0);
  std::vector<std::uint32_t> values(writes.ranks(), 0);
  writes.for_each([&](const Writes::Part& part) {
    summary.rank_bytes[part.rank] += part.bytes;
    const bool is_value = part.file >= Writes::value_file;
    std::uint32_t& count = is_value ? values[part.rank] : segments[part.rank];
    count = std::max(count, (is_value ? part.file - Writes::value_file : part.file) + 1);
    summary.chunks += is_value ? 0 : 1;
  });
  for (std::size_t rank = 0; rank < writes.ranks(); ++rank) {
    const std::size_t files = segments[rank] + values[rank];
    summary.files += files;
    summary.files_a_rank_max = std::max(summary.files_a_rank_max, files);
    summary.bytes += summary.rank_bytes[rank];
  }
  const bool known = std::ranges::none_of(writes.tensors(), [](const Writes::Tensor& tensor) { return tensor.holders == 0; });
  if (known) {
    for (const Writes::Tensor& tensor : writes.tensors()) summary.bytes_held += tensor.bytes * tensor.holders;
  }
  summary.spread = spread_of(summary.rank_bytes);
  return summary;
}

}  // namespace holdfast::reports
