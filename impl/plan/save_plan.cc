#include "impl/plan/save_plan.h"

#include <algorithm>
#include <span>

#include "impl/core/mutate.h"
#include "impl/plan/problems.h"
#include "impl/plan/tiling.h"
#include "impl/plan/validate.h"

namespace holdfast::plan {
namespace {

bool is_bytes(const WriteItem& item) { return item.type == WriteItemType::bytes; }

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

/// One distinct piece and the ranks that hold it, ascending.
struct Piece {
  std::span<const Holding> holders;
  std::uint64_t bytes() const { return holders.front().item->stored_bytes(); }
};

/// Removes what need not be written: empty boxes, or, of a tensor without elements, all but the first (one of it a rank).
void drop_empty(std::string_view key, std::vector<Holding>& holdings, Problems& problems) {
  const Dims& shape = holdings.front().item->shape;
  if (whole(shape).empty()) {
    std::erase_if(holdings, [](const Holding& holding) { return is_announcement(*holding.item); });
    if (!holdings.empty()) {
      const Box first = holdings.front().item->chunk;
      std::erase_if(holdings, [&](const Holding& holding) { return holding.item->chunk != first; });
      holdings.erase(std::ranges::unique(holdings, {}, &Holding::rank).begin(), holdings.end());
    }
  } else {
    std::erase_if(holdings, [](const Holding& holding) { return holding.item->chunk.empty(); });
  }
  if (holdings.empty()) problems.add("\"{}\": a tensor of shape {} of which no rank holds anything", key, text(shape));
}

/// Cuts the holdings, sorted, into runs with equal boxes.
std::vector<Piece> pieces_of(std::span<const Holding> holdings) {
  std::vector<Piece> pieces;
  for (std::size_t begin = 0; begin < holdings.size();) {
    std::size_t end = begin + 1;
    while (end < holdings.size() && holdings[end].item->chunk == holdings[begin].item->chunk) ++end;
    pieces.push_back({holdings.subspan(begin, end - begin)});
    begin = end;
  }
  return pieces;
}

void check_held_once_a_rank(std::string_view key, const Piece& piece, Problems& problems) {
  for (std::size_t i = 1; i < piece.holders.size(); ++i) {
    if (piece.holders[i].rank != piece.holders[i - 1].rank) continue;
    problems.add("\"{}\": rank {} lists {} twice", key, piece.holders[i].rank,
                 is_bytes(*piece.holders[i].item) ? "it" : to_string(piece.holders[i].item->chunk));
    return;
  }
}

/// The pieces of one key, and its metadata entry. `holdings` is sorted in place and must outlive the pieces.
std::vector<Piece> plan_key(std::string_view key, std::vector<Holding>& holdings, Metadata& metadata, Problems& problems) {
  if (!check_agreement(key, holdings, problems)) return {};
  if (is_bytes(*holdings.front().item)) {
    const Piece piece{holdings};
    check_held_once_a_rank(key, piece, problems);
    metadata.entries.emplace(key, BytesMetadata{});
    return {piece};
  }
  const auto by_box = [](const Holding& a, const Holding& b) { return a.item->chunk < b.item->chunk; };
  if (!std::ranges::is_sorted(holdings, by_box)) std::ranges::stable_sort(holdings, by_box);
  drop_empty(key, holdings, problems);
  std::vector<Piece> pieces = pieces_of(holdings);
  std::vector<Holding> firsts;
  std::vector<Box> boxes;
  for (const Piece& piece : pieces) {
    check_held_once_a_rank(key, piece, problems);
    firsts.push_back(piece.holders.front());
    boxes.push_back(piece.holders.front().item->chunk);
  }
  check_tiling(key, firsts, Coverage::whole, problems);
  if (problems.count() == 0) {
    const WriteItem& item = *firsts.front().item;
    metadata.entries.emplace(key, TensorMetadata{item.dtype, item.shape, ChunkSet(std::move(boxes), item.shape)});
  }
  return pieces;
}

std::vector<Holding> choose_owners(std::vector<Piece> pieces, DedupPolicy policy, std::size_t ranks) {
  std::vector<Holding> owners;
  std::vector<std::uint64_t> bytes(ranks, 0);
  const auto assign = [&](const Holding& owner) {
    bytes[static_cast<std::size_t>(owner.rank.value)] += owner.item->stored_bytes();
    owners.push_back(owner);
  };
  std::erase_if(pieces, [&](const Piece& piece) {
    const bool only_one = piece.holders.size() == 1 || policy == DedupPolicy::lowest_rank;
    if (only_one) assign(piece.holders.front());
    return only_one;
  });
  std::ranges::stable_sort(pieces, [](const Piece& a, const Piece& b) { return a.bytes() > b.bytes(); });
  const auto load = [&](const Holding& holder) { return bytes[static_cast<std::size_t>(holder.rank.value)]; };
  for (const Piece& piece : pieces) {
    assign(MUTATE("plan.dedup_unbalanced", *std::ranges::min_element(piece.holders, {}, load), piece.holders.front()));
  }
  return owners;
}

/// Leaves in each plan the owned items only, in their order.
void keep_owned(std::vector<SavePlan>& plans, const std::vector<Holding>& owners) {
  std::vector<std::vector<bool>> owned;
  for (const SavePlan& plan : plans) owned.emplace_back(plan.items.size(), false);
  for (const Holding& owner : owners) {
    const auto rank = static_cast<std::size_t>(owner.rank.value);
    owned[rank][static_cast<std::size_t>(owner.item - plans[rank].items.data())] = true;
  }
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    std::vector<WriteItem> kept;
    for (std::size_t i = 0; i < plans[rank].items.size(); ++i) {
      if (owned[rank][i]) kept.push_back(std::move(plans[rank].items[i]));
    }
    plans[rank].items = std::move(kept);
  }
}

}  // namespace

Result<SavePlan> local_save_plan(const StateDict& state) {
  SavePlan plan;
  Problems problems;
  for (const auto& [name, entry] : state.entries()) {
    if (const auto* tensor = std::get_if<TensorEntry>(&entry)) {
      check_local_tensor(name, *tensor, problems);
      add_tensor(plan, name, *tensor);
    } else {
      WriteItem item;
      item.index.fqn = name;
      item.nbytes = std::get<BytesEntry>(entry).value.size();
      plan.items.push_back(std::move(item));
    }
  }
  TRY(problems.status(ErrorCode::invalid_argument, "plan this rank's part of the save"));
  return plan;
}

Result<GlobalSavePlan> global_save_plan(std::vector<SavePlan> local, DedupPolicy policy) {
  GlobalSavePlan global;
  Problems problems;
  std::vector<Piece> pieces;
  auto groups = by_key(local);
  for (auto& [key, holdings] : groups) std::ranges::copy(plan_key(key, holdings, global.metadata, problems), std::back_inserter(pieces));
  TRY(problems.status(ErrorCode::invalid_argument, "plan save"));
  keep_owned(local, choose_owners(std::move(pieces), policy, local.size()));
  global.plans = std::move(local);
  return global;
}

}  // namespace holdfast::plan
