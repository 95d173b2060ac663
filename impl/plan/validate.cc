#include "impl/plan/validate.h"

#include <algorithm>
#include <functional>
#include <tuple>

#include "impl/core/failure.h"
#include "impl/core/layout.h"
#include "impl/core/mutate.h"
#include "impl/plan/rule_tables.h"
#include "impl/plan/tiling.h"

namespace holdfast::plan {
namespace {

std::string_view kind(const WriteItem& item) { return item.type == WriteItemType::bytes ? "a byte value" : "a tensor"; }

/// Compares a property of all items with that of the first one; the first rank that differs is named, the others counted.
template <typename Property, typename Text>
bool equal_on_all(std::string_view key, std::string_view what, std::span<const Holding> holdings, Problems& problems, Property&& property,
                  Text&& text) {
  const Holding& first = holdings.front();
  const auto expected = property(*first.item);
  const Holding* other = nullptr;
  std::size_t differing = 0;
  for (const Holding& holding : holdings) {
    if (property(*holding.item) == expected) continue;
    if (!other) other = &holding;
    ++differing;
  }
  if (!other) return true;
  const std::string more = differing > 1 ? fmt::format(" ({} items differ from rank {}'s)", differing, first.rank) : "";
  problems.add("\"{}\": {} differs between ranks: {} on rank {}, {} on rank {}{}", key, what, text(expected), first.rank,
               text(property(*other->item)), other->rank, more);
  return false;
}

/// Whether all ranks have the same bytes; else every different value is told, with its ranks.
bool equal_values(std::string_view key, std::span<const Holding> holdings, Problems& problems) {
  const auto value_of = [](const WriteItem& item) {
    const BlockDigest digest = MUTATE("plan.values_ignore_digests", item.digest, BlockDigest());
    return std::tuple(item.nbytes, digest.high, digest.low);
  };
  const auto first = value_of(*holdings.front().item);
  if (std::ranges::all_of(holdings, [&](const Holding& holding) { return value_of(*holding.item) == first; })) return true;
  std::map<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>, std::vector<Rank>> ranks_of;
  for (const Holding& holding : holdings) ranks_of[value_of(*holding.item)].push_back(holding.rank);
  std::vector<std::string> values;
  for (const auto& [value, ranks] : ranks_of) {
    const auto& [nbytes, high, low] = value;
    values.push_back(fmt::format("{} bytes with digest {} on {}", nbytes, to_string(BlockDigest{low, high}), rank_text(ranks)));
  }
  problems.add("\"{}\": a byte value must be the same on all ranks that have it, but it is {}", key, fmt::join(values, ", "));
  return false;
}

bool check_item_bounds(std::string_view key, const Holding& holding, Problems& problems) {
  const WriteItem& item = *holding.item;
  if (const auto elements = checked_volume({item.shape.data(), item.shape.size()}); !elements) {
    problems.add("\"{}\" on rank {}: {}", key, holding.rank, elements.error().message);
    return false;
  }
  if (!in_bounds(item.chunk, item.shape)) {
    problems.add("\"{}\" on rank {}: chunk {} outside shape {}", key, holding.rank, to_string(item.chunk), text(item.shape));
    return false;
  }
  if (item.index.offset != item.chunk.offset) {
    problems.add("\"{}\" on rank {}: chunk {} is filed as {}", key, holding.rank, to_string(item.chunk), to_string(item.index));
    return false;
  }
  return true;
}

std::string on_ranks(const Holding& a, const Holding& b) {
  return a.rank == b.rank ? fmt::format("both on rank {}", a.rank) : fmt::format("on ranks {} and {}", a.rank, b.rank);
}

void check_written_once(std::string_view key, std::span<const Holding> holdings, Problems& problems) {
  if (holdings.size() > 1) problems.add("\"{}\": written {} times, {}", key, holdings.size(), on_ranks(holdings[0], holdings[1]));
}

/// "shape [4,4]: nothing holds [0,2]+[4,2], 8 of 16 elements are there".
std::string hole_text(const Box& hole, const Dims& shape, std::span<const Box> boxes) {
  std::int64_t held = 0;
  for (const Box& box : boxes) held += box.volume();
  return fmt::format("shape {}: nothing holds {}; {} of {} elements are there", text(shape), to_string(hole), held, whole(shape).volume());
}

bool check_rule_bounds(std::string_view key, const ChunkSet::OfMesh& rule, const Dims& shape, Problems& problems) {
  if (rule.shape != shape) {
    problems.add("\"{}\": its chunks are laid out for shape {}, it has {}", key, text(rule.shape), text(shape));
    return false;
  }
  if (const Status status = check(rule.layout, shape); !status) {
    problems.add("\"{}\": {}", key, status.error().message);
    return false;
  }
  const bool sound = replicated_axes(rule.layout).empty() && rule.boxes_max == boxes_max(rule.layout, shape);
  if (!sound) problems.add("\"{}\": {}: an element would be there more than once", key, to_string(rule.layout));
  return sound;
}

}  // namespace

std::map<std::string_view, std::vector<Holding>> by_key(std::span<const SavePlan> plans) {
  std::map<std::string_view, std::vector<Holding>> groups;
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    // Plans are usually in name order: the group is then the one at hand or the next one.
    auto at = groups.begin();
    for (const WriteItem& item : plans[rank].items) {
      if (at != groups.end() && at->first < item.index.fqn) ++at;
      if (at == groups.end() || at->first != item.index.fqn) at = groups.try_emplace(at, item.index.fqn);
      at->second.push_back({Rank{static_cast<std::int32_t>(rank)}, &item});
    }
  }
  return groups;
}

bool check_agreement(std::string_view key, std::span<const Holding> holdings, Problems& problems) {
  if (!equal_on_all(key, "the kind", holdings, problems, kind, std::identity())) return false;
  if (holdings.front().item->type == WriteItemType::bytes) {
    return equal_values(key, holdings, problems);
  }
  bool good = equal_on_all(
      key, "the dtype", holdings, problems,
      [](const WriteItem& item) { return MUTATE("plan.agreement_ignores_dtype", item.dtype, DType::u8); },
      [](DType dtype) { return to_string(dtype); });
  good &= equal_on_all(
      key, "the shape", holdings, problems, [](const WriteItem& item) -> const Dims& { return item.shape; },
      [](const Dims& shape) { return text(shape); });
  for (const Holding& holding : holdings) good &= check_item_bounds(key, holding, problems);
  return good;
}

void check_tiling(std::string_view key, std::span<const Holding> holdings, Coverage coverage, Problems& problems) {
  std::vector<Box> boxes;
  for (const Holding& holding : holdings) boxes.push_back(holding.item->chunk);
  const std::vector<Overlap> overlaps = find_overlaps(boxes);
  for (const Overlap& overlap : overlaps) {
    problems.add("\"{}\": chunks {} and {} overlap, {}", key, to_string(boxes[overlap.first]), to_string(boxes[overlap.second]),
                 on_ranks(holdings[overlap.first], holdings[overlap.second]));
  }
  if (!overlaps.empty() || coverage == Coverage::partial || holdings.empty()) return;
  const Dims& shape = holdings.front().item->shape;
  const auto hole = find_uncovered(whole(shape), boxes);
  if (MUTATE("plan.save_ignores_holes", hole.has_value(), false)) problems.add("\"{}\": {}", key, hole_text(*hole, shape, boxes));
}

bool check_bounds(std::string_view key, const TensorMetadata& tensor, Problems& problems) {
  if (const auto elements = checked_volume({tensor.shape.data(), tensor.shape.size()}); !elements) {
    problems.add("\"{}\": {}", key, elements.error().message);
    return false;
  }
  if (const ChunkSet::Grid* grid = tensor.chunks.grid()) {
    const bool sound = grid->shape == tensor.shape && grid->dim < grid->shape.size() && grid->count > 0 && !whole(grid->shape).empty() &&
                       chunk_split(grid->shape[grid->dim], grid->count).size(grid->count - 1) > 0;
    if (!sound) {
      problems.add("\"{}\": a grid of {} chunks along dimension {} of {} cannot be cut from shape {}", key, grid->count, grid->dim,
                   text(grid->shape), text(tensor.shape));
    }
    return sound;
  }
  if (const ChunkSet::OfMesh* rule = tensor.chunks.mesh()) return check_rule_bounds(key, *rule, tensor.shape, problems);
  for (std::size_t i = 0; i < tensor.chunks.size(); ++i) {
    const Box box = tensor.chunks.box(i);
    if (in_bounds(box, tensor.shape)) continue;
    problems.add("\"{}\": chunk {} outside shape {}", key, to_string(box), text(tensor.shape));
    return false;
  }
  return true;
}

bool is_announcement(const WriteItem& item) {
  return item.type == WriteItemType::shard && !item.index.hint && !item.chunk.size.empty() &&
         std::ranges::all_of(item.chunk.size, [](std::int64_t size) { return size == 0; });
}

Status validate(std::span<const SavePlan> plans, Coverage coverage) {
  Problems problems;
  std::vector<SavePlan> listed(plans.begin(), plans.end());
  const RuleTables tables(plans);
  Agreement agreement;
  if (coverage == Coverage::whole) {
    agreement = agree(tables, by_key(plans), problems);
    TRY(problems.status(ErrorCode::invalid_argument, "validate save plan"));
    for (const RuledTensor& tensor : agreement.ruled) {
      if (replicated_axes(tensor.item->layout).empty()) continue;
      problems.add("\"{}\": {}: ranks would write the same", tensor.item->fqn, to_string(tensor.item->layout));
    }
    if (!agreement.listed.empty()) list_boxes(listed, tables, agreement.listed);
  } else {
    for (std::size_t r = 0; r < listed.size(); ++r) listed[r] = expand(std::move(listed[r]), Rank{static_cast<std::int32_t>(r)});
  }
  auto groups = by_key(listed);
  for (const RuledTensor& tensor : agreement.ruled) groups.erase(tensor.item->fqn);
  for (const auto& [key, holdings] : groups) {
    if (!check_agreement(key, holdings, problems)) continue;
    if (holdings.front().item->type == WriteItemType::bytes) {
      check_written_once(key, holdings, problems);
    } else {
      check_tiling(key, holdings, coverage, problems);
    }
  }
  return problems.status(ErrorCode::invalid_argument, "validate save plan");
}

Status validate(const Metadata& metadata) {
  Problems problems;
  for (const auto& [key, entry] : metadata.entries) {
    const auto* tensor = std::get_if<TensorMetadata>(&entry);
    if (!tensor || !check_bounds(key, *tensor, problems)) continue;
    if (tensor->chunks.grid() || tensor->chunks.mesh()) continue;  // sound ones are whole and disjoint by construction
    std::vector<Box> boxes;
    for (std::size_t i = 0; i < tensor->chunks.size(); ++i) boxes.push_back(tensor->chunks.box(i));
    const std::vector<Overlap> overlaps = find_overlaps(boxes);
    for (const Overlap& overlap : overlaps) {
      problems.add("\"{}\": chunks {} and {} overlap", key, to_string(boxes[overlap.first]), to_string(boxes[overlap.second]));
    }
    if (!overlaps.empty()) continue;
    const auto hole = find_uncovered(whole(tensor->shape), boxes);
    if (hole) problems.add("\"{}\": {}", key, hole_text(*hole, tensor->shape, boxes));
  }
  return problems.status(ErrorCode::corrupt, "validate metadata");
}

}  // namespace holdfast::plan
