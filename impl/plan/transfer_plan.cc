#include "impl/plan/transfer_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/plan/box_index.h"
#include "impl/plan/problems.h"
#include "impl/plan/tiling.h"
#include "impl/plan/transfer_windows.h"

namespace holdfast::plan {
namespace {

/// What a rank says of one tensor.
struct Side {
  Rank rank;
  const TransferTensor* tensor = nullptr;
};

struct Sides {
  std::vector<Side> held, wanted;  // in rank order
};

struct Holder {
  Rank rank;
  std::uint32_t shard = 0;
};

/// A box that several ranks may send, wanted by one.
struct Need {
  Move move;  // but for the source
  std::uint32_t element_bytes = 1;
  std::size_t holders = 0;  // number of the list
};

/// The distinct boxes that ranks hold of a tensor.
struct Sources {
  std::vector<Box> boxes;
  std::vector<std::size_t> holders;  // by box: number of the list
};

class Planner {
 public:
  Planner(std::span<const TransferOffer> offers, const TransferPlanOptions& options)
      : offers_(offers), options_(options), sent_bytes_(offers.size()) {}

  TransferDecision plan() {
    std::map<std::string_view, Sides> tensors;
    for (std::size_t r = 0; r < offers_.size(); ++r) {
      const Rank rank{static_cast<std::int32_t>(r)};
      for (const auto& [name, tensor] : offers_[r].held) tensors[name].held.push_back({rank, &tensor});
      for (const auto& [name, tensor] : offers_[r].wanted) tensors[name].wanted.push_back({rank, &tensor});
    }
    for (const auto& [name, sides] : tensors) plan_tensor(std::string(name), sides);
    for (const auto& [rank, problems] : problems_)
      decision_.failures.add(rank, problems.status(ErrorCode::invalid_argument, "plan transfer").error());
    if (decision_.failures.empty()) choose_sources();
    return std::move(decision_);
  }

 private:
  template <typename... Args>
  void complain(Rank rank, fmt::format_string<Args...> format, Args&&... args) {
    problems_[rank].add(format, std::forward<Args>(args)...);
  }

  void plan_tensor(const std::string& name, const Sides& sides) {
    if (sides.wanted.empty()) {
      decision_.unexpected.push_back(name);
      if (!options_.all_of_source) return;
      for (const Side& side : sides.held) complain(side.rank, "\"{}\" of the source: no rank has a place for it", name);
      return;
    }
    if (sides.held.empty()) {
      decision_.missing.push_back(name);
      if (!options_.strict) return;
      for (const Side& side : sides.wanted) complain(side.rank, "\"{}\" of the destination: no rank holds it", name);
      return;
    }
    if (!check_agreement(name, sides)) return;
    decision_.plan.tensors.push_back(name);
    const std::optional<Sources> sources = sources_of(name, sides.held);
    if (!sources) return;
    const BoxIndex index(sources->boxes);
    for (const Side& side : sides.wanted) {
      for (std::size_t i = 0; i < side.tensor->boxes.size(); ++i) plan_box(name, side, i, *sources, index);
    }
  }

  /// Everybody is held against the lowest rank that holds some of the tensor.
  bool check_agreement(const std::string& name, const Sides& sides) {
    const Side& first = sides.held.front();
    bool agree = true;
    const auto check = [&](const Side& side, std::string_view where) {
      const TransferTensor& tensor = *side.tensor;
      if (tensor.shape != first.tensor->shape) {
        complain(side.rank, "\"{}\": shape {} in the source of rank {}, {} in the {} of rank {}", name, text(first.tensor->shape),
                 first.rank, text(tensor.shape), where, side.rank);
        agree = false;
      } else if (tensor.dtype != first.tensor->dtype) {
        complain(side.rank, "\"{}\": dtype {} in the source of rank {}, {} in the {} of rank {}; nothing is cast", name,
                 to_string(first.tensor->dtype), first.rank, to_string(tensor.dtype), where, side.rank);
        agree = false;
      }
      for (const TransferBox& box : tensor.boxes) {
        if (in_bounds(box.box, tensor.shape)) continue;
        complain(side.rank, "\"{}\": local box {} outside shape {}", name, to_string(box.box), text(tensor.shape));
        agree = false;
      }
    };
    for (const Side& side : sides.held) check(side, "source");
    for (const Side& side : sides.wanted) check(side, "destination");
    return agree;
  }

  /// None, and a problem, where boxes overlap and are not equal.
  std::optional<Sources> sources_of(const std::string& name, const std::vector<Side>& held) {
    std::vector<std::pair<const Box*, Holder>> all;
    for (const Side& side : held) {
      for (std::size_t i = 0; i < side.tensor->boxes.size(); ++i) {
        const Box& box = side.tensor->boxes[i].box;
        if (!box.empty()) all.emplace_back(&box, Holder{side.rank, static_cast<std::uint32_t>(i)});
      }
    }
    std::ranges::stable_sort(all, [](const auto& a, const auto& b) { return *a.first < *b.first; });
    Sources sources;
    for (const auto& [box, holder] : all) {
      if (sources.boxes.empty() || sources.boxes.back() != *box) {
        sources.boxes.push_back(*box);
        sources.holders.push_back(holders_.size());
        holders_.emplace_back();
      }
      if (holders_.back().empty() || holders_.back().back().rank != holder.rank) holders_.back().push_back(holder);
    }
    const std::vector<Overlap> overlaps = find_overlaps(sources.boxes);
    for (const Overlap& overlap : overlaps) {
      const std::size_t both[] = {overlap.first, overlap.second};
      for (const std::size_t i : both) {
        const std::size_t other = both[i == overlap.first ? 1 : 0];
        for (const Holder& holder : holders_[sources.holders[i]]) {
          complain(holder.rank, "\"{}\": box {} of this rank's source overlaps with {} of rank {}, and is not equal to it", name,
                   to_string(sources.boxes[i]), to_string(sources.boxes[other]), holders_[sources.holders[other]].front().rank);
        }
      }
    }
    if (!overlaps.empty()) return std::nullopt;
    return sources;
  }

  /// What is in place is not moved: its rank must hold it.
  void check_in_place(const std::string& name, Rank rank, const Box& box, const Sources& sources) {
    const auto found = std::ranges::lower_bound(sources.boxes, box, [](const Box& a, const Box& b) { return a < b; });
    const auto number = static_cast<std::size_t>(found - sources.boxes.begin());
    const bool is_held = found != sources.boxes.end() && *found == box &&
                         std::ranges::binary_search(holders_[sources.holders[number]], rank, {}, &Holder::rank);
    if (!is_held) complain(rank, "\"{}\": wanted {} is in place, and this rank's source does not hold it", name, to_string(box));
  }

  void plan_box(const std::string& name, const Side& side, std::size_t shard, const Sources& sources, const BoxIndex& index) {
    const auto& [box, in_place] = side.tensor->boxes[shard];
    if (in_place) check_in_place(name, side.rank, box, sources);
    if (box.empty() || in_place) return;
    const std::uint32_t element_bytes = size_bytes(side.tensor->dtype);
    std::vector<Box> pieces;
    for (const std::size_t i : index.meeting(box)) {
      Need need;
      need.move.tensor = static_cast<std::uint32_t>(decision_.plan.tensors.size() - 1);
      need.move.destination = side.rank;
      need.move.destination_shard = static_cast<std::uint32_t>(shard);
      need.move.box = *intersection(sources.boxes[i], box);
      need.move.bytes = static_cast<std::uint64_t>(need.move.box.volume()) * element_bytes;
      need.element_bytes = element_bytes;
      need.holders = sources.holders[i];
      pieces.push_back(need.move.box);
      needs_.push_back(std::move(need));
    }
    if (const std::optional<Box> hole = find_uncovered(box, pieces)) {
      complain(side.rank, "\"{}\": wanted {} of shape {}, but no rank holds {}", name, to_string(box), text(side.tensor->shape),
               to_string(*hole));
    }
  }

  void add_moves(Need& need, const Holder& holder) {
    need.move.source = holder.rank;
    need.move.source_shard = holder.shard;
    if (holder.rank != need.move.destination) sent_bytes_[static_cast<std::size_t>(holder.rank.value)] += need.move.bytes;
    for (Box& box : cut_to_fit(need.move.box, need.element_bytes, options_.window_bytes)) {
      Move& move = decision_.plan.moves.emplace_back(need.move);
      move.bytes = static_cast<std::uint64_t>(box.volume()) * need.element_bytes;
      move.box = std::move(box);
    }
  }

  /// Where there is no choice first; then the largest first, to whom has least to send.
  void choose_sources() {
    std::vector<Need*> open;
    for (Need& need : needs_) {
      const std::vector<Holder>& holders = holders_[need.holders];
      const auto own = std::ranges::lower_bound(holders, need.move.destination, {}, &Holder::rank);
      const bool is_own = own != holders.end() && own->rank == need.move.destination;
      if (is_own) MARK("transfer.own_memory");
      if (is_own || holders.size() == 1) {
        add_moves(need, is_own ? *own : holders.front());
      } else {
        open.push_back(&need);
      }
    }
    std::ranges::stable_sort(open, std::greater<>(), [](const Need* need) { return need->move.bytes; });
    for (Need* need : open) {
      MARK("transfer.replica_chosen");
      const std::vector<Holder>& holders = holders_[need->holders];
      const auto load = [&](const Holder& holder) { return sent_bytes_[static_cast<std::size_t>(holder.rank.value)]; };
      add_moves(*need, *std::ranges::min_element(holders, {}, load));
      if (MUTATE("plan.transfer_counts_replica_twice", false, true)) add_moves(*need, holders.back());
    }
    decision_.plan.windows = schedule(decision_.plan.moves, offers_.size(), options_.window_bytes);
  }

  std::span<const TransferOffer> offers_;
  const TransferPlanOptions& options_;
  TransferDecision decision_;
  std::map<Rank, Problems> problems_;
  std::vector<std::vector<Holder>> holders_;  // lists, each in rank order, a rank once
  std::vector<Need> needs_;
  std::vector<std::uint64_t> sent_bytes_;  // by rank
};

const TransferTensor* find(const std::map<std::string, TransferTensor, std::less<>>& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

/// Whether the shard is there, of that side of that rank, and holds the box.
bool holds(std::span<const TransferOffer> offers, Rank rank, bool held, const std::string& name, std::uint32_t shard, const Box& box) {
  if (rank.value < 0 || static_cast<std::size_t>(rank.value) >= offers.size()) return false;
  const TransferOffer& offer = offers[static_cast<std::size_t>(rank.value)];
  const TransferTensor* tensor = find(held ? offer.held : offer.wanted, name);
  return tensor && shard < tensor->boxes.size() && in_bounds(box, tensor->shape) && contains(tensor->boxes[shard].box, box);
}

}  // namespace

TransferDecision global_transfer_plan(std::span<const TransferOffer> offers, const TransferPlanOptions& options) {
  CHECK(options.window_bytes > 0 && options.window_bytes % room_unit == 0, "transfer windows of {} bytes", options.window_bytes);
  return Planner(offers, options).plan();
}

Status check_transfer_plan(const TransferPlan& plan, std::span<const TransferOffer> offers, std::uint64_t window_bytes) {
  Problems problems;
  std::map<std::tuple<std::uint32_t, Rank, std::uint32_t>, std::vector<Box>> moved;  // by wanted box
  std::map<std::tuple<std::uint64_t, Rank, bool>, std::uint64_t> rooms;              // by window, rank and direction
  for (const Move& move : plan.moves) {
    const bool is_known = move.tensor < plan.tensors.size() && move.window < plan.windows;
    if (!is_known || !holds(offers, move.source, true, plan.tensors[move.tensor], move.source_shard, move.box) ||
        !holds(offers, move.destination, false, plan.tensors[move.tensor], move.destination_shard, move.box)) {
      problems.add("box {} of tensor {} from rank {} to rank {}: not held there, or not wanted here", to_string(move.box), move.tensor,
                   move.source, move.destination);
      continue;
    }
    moved[{move.tensor, move.destination, move.destination_shard}].push_back(move.box);
    rooms[{move.window, move.destination, false}] += room_bytes(move.bytes);
    if (move.source != move.destination) rooms[{move.window, move.source, true}] += room_bytes(move.bytes);
  }
  for (std::uint32_t t = 0; t < plan.tensors.size(); ++t) {
    for (std::size_t r = 0; r < offers.size(); ++r) {
      const TransferTensor* tensor = find(offers[r].wanted, plan.tensors[t]);
      for (std::size_t i = 0; tensor && i < tensor->boxes.size(); ++i) {
        const auto& [box, in_place] = tensor->boxes[i];
        const std::vector<Box>& boxes = moved[{t, Rank{static_cast<std::int32_t>(r)}, static_cast<std::uint32_t>(i)}];
        const bool is_tiled = find_overlaps(boxes).empty() && (in_place ? boxes.empty() : !find_uncovered(box, boxes));
        if (!is_tiled) problems.add("\"{}\" box {} of rank {}: not every element is moved once", plan.tensors[t], to_string(box), r);
      }
    }
  }
  for (const auto& [key, room] : rooms) {
    if (room > window_bytes) problems.add("window {} of rank {}: {} bytes of {}", std::get<0>(key), std::get<1>(key), room, window_bytes);
  }
  return problems.status(ErrorCode::invalid_argument, "check transfer plan");
}

std::vector<TransferPlan> parts_of(const TransferPlan& plan, std::size_t ranks) {
  std::vector<TransferPlan> parts(ranks);
  for (TransferPlan& part : parts) part.windows = plan.windows;
  for (const Move& move : plan.moves) {
    parts[static_cast<std::size_t>(move.source.value)].moves.push_back(move);
    if (move.destination != move.source) parts[static_cast<std::size_t>(move.destination.value)].moves.push_back(move);
  }
  for (TransferPlan& part : parts) {
    std::map<std::uint32_t, std::uint32_t> numbers;
    for (const Move& move : part.moves) numbers[move.tensor];
    for (auto& [whole, own] : numbers) {
      own = static_cast<std::uint32_t>(part.tensors.size());
      part.tensors.push_back(plan.tensors[whole]);
    }
    for (Move& move : part.moves) move.tensor = numbers[move.tensor];
  }
  return parts;
}

}  // namespace holdfast::plan
