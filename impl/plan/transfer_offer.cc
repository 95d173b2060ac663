#include "impl/plan/transfer_offer.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <span>
#include <utility>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/plan/problems.h"

namespace holdfast::plan {
namespace {

bool same_memory(const StridedBlock& a, const StridedBlock& b) {
  if (a.data != b.data || a.sizes != b.sizes || a.element_bytes != b.element_bytes) return false;
  for (std::size_t d = 0; d < a.sizes.size(); ++d) {
    if (a.sizes[d] > 1 && a.strides_bytes[d] != b.strides_bytes[d]) return false;
  }
  return true;
}

/// A box that is read, or written, where it lies.
struct Use {
  const std::string& tensor;
  const LocalShard& shard;
  bool written;
  std::uintptr_t begin, end;  ///< of all that lies between its first and its last byte
};

Use use_of(const std::string& tensor, const LocalShard& shard, bool written) {
  auto begin = reinterpret_cast<std::uintptr_t>(shard.memory.data);
  std::uintptr_t end = begin + shard.memory.element_bytes;
  for (std::size_t d = 0; d < shard.memory.sizes.size(); ++d) {
    const std::int64_t reach = (shard.memory.sizes[d] - 1) * shard.memory.strides_bytes[d];
    (reach < 0 ? begin : end) += static_cast<std::uintptr_t>(reach);
  }
  return {tensor, shard, written, begin, end};
}

std::string told(const Use& use) { return fmt::format("\"{}\" box {}", use.tensor, to_string(use.shard.box)); }

/// Uses whose extents touch: whether they have a byte in common shows run by run.
void check_runs(std::span<const Use* const> uses, Problems& problems) {
  struct Run {
    std::uintptr_t begin, end;
    const Use* use;
  };
  std::vector<Run> runs;
  for (const Use* use : uses) {
    const auto data = reinterpret_cast<std::uintptr_t>(use->shard.memory.data);
    for_each_run(use->shard.memory, [&](std::int64_t at, std::int64_t elements) {
      const std::uintptr_t begin = data + static_cast<std::uintptr_t>(at);
      runs.push_back({begin, begin + static_cast<std::uintptr_t>(elements) * use->shard.memory.element_bytes, use});
    });
  }
  std::ranges::stable_sort(runs, {}, &Run::begin);
  std::set<std::pair<const Use*, const Use*>> named;
  const Run* written = nullptr;  // of those before, the ones that reach furthest
  const Run* read = nullptr;
  for (const Run& run : runs) {
    for (const Run* before : {written, run.use->written ? read : nullptr}) {
      if (!before || before->end <= run.begin || before->use == run.use || !named.emplace(before->use, run.use).second) continue;
      const Use& a = *before->use;
      const Use& b = *run.use;
      if (a.written && b.written) {
        problems.add("{} and {} of the destination share memory; both would be written", told(a), told(b));
      } else {
        problems.add("{} of the source and {} of the destination share memory; only the same box in the same memory may",
                     told(a.written ? b : a), told(a.written ? a : b));
      }
    }
    const Run*& furthest = run.use->written ? written : read;
    if (!furthest || furthest->end < run.end) furthest = &run;
  }
}

void check_memory(const std::vector<Use>& uses, Problems& problems) {
  std::vector<const Use*> order;
  for (const Use& use : uses) order.push_back(&use);
  std::ranges::stable_sort(order, {}, &Use::begin);
  for (std::size_t first = 0, next = 0; first < order.size(); first = next) {
    std::uintptr_t end = order[first]->end;
    bool any_written = false;
    for (next = first; next < order.size() && (next == first || order[next]->begin < end); ++next) {
      end = std::max(end, order[next]->end);
      any_written |= order[next]->written;
    }
    if (any_written && next - first > 1) check_runs(std::span(order).subspan(first, next - first), problems);
  }
}

bool check_shard(const std::string& name, const TensorEntry& entry, const LocalShard& shard, Problems& problems) {
  if (!in_bounds(shard.box, entry.shape)) {
    problems.add("\"{}\": local box {} outside shape {}", name, to_string(shard.box), text(entry.shape));
    return false;
  }
  if (shard.memory.sizes == shard.box.size && shard.memory.element_bytes == size_bytes(entry.dtype)) return true;
  problems.add("\"{}\": local box {} of {}, in memory of {} elements of {} bytes", name, to_string(shard.box), to_string(entry.dtype),
               text(shard.memory.sizes), shard.memory.element_bytes);
  return false;
}

bool lies_there(const TensorEntry* source, const TensorEntry& wanted, const LocalShard& shard) {
  if (!source || source->dtype != wanted.dtype || source->shape != wanted.shape) return false;
  return std::ranges::any_of(source->shards, [&](const LocalShard& held) {
    return held.box == shard.box && !shard.box.empty() && same_memory(held.memory, shard.memory);
  });
}

const TensorEntry* tensor_of(const StateDict& state, const std::string& name) {
  const StateDict::Entry* entry = state.find(name);
  return entry ? std::get_if<TensorEntry>(entry) : nullptr;
}

}  // namespace

Result<TransferOffer> local_transfer_offer(const StateDict& from, const StateDict& to) {
  TransferOffer offer;
  Problems problems;
  std::vector<Use> uses;
  const auto add = [&](const std::string& name, const TensorEntry& entry, bool wanted) {
    TransferTensor tensor{entry.dtype, entry.shape, {}};
    const TensorEntry* source = wanted ? tensor_of(from, name) : nullptr;
    for (const LocalShard& shard : entry.shards) {
      const bool fits = check_shard(name, entry, shard, problems);
      const bool in_place = fits && lies_there(source, entry, shard);
      if (in_place) MARK("transfer.in_place");
      if (fits && !in_place && !shard.box.empty()) uses.push_back(use_of(name, shard, wanted));
      tensor.boxes.push_back({shard.box, in_place});
    }
    (wanted ? offer.wanted : offer.held).emplace(name, std::move(tensor));
  };
  for (const auto& [name, entry] : from.entries()) {
    if (const auto* tensor = std::get_if<TensorEntry>(&entry)) add(name, *tensor, false);
  }
  for (const auto& [name, entry] : to.entries()) {
    if (const auto* tensor = std::get_if<TensorEntry>(&entry)) {
      add(name, *tensor, true);
    } else {
      problems.add("\"{}\" of the destination is a byte value; only tensors are moved", name);
    }
  }
  if (MUTATE("plan.transfer_overlap_ignored", true, false)) check_memory(uses, problems);
  TRY(problems.status(ErrorCode::invalid_argument, "plan transfer"));
  return offer;
}

}  // namespace holdfast::plan
