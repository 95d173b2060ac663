#include "sim/cuda/twins.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "impl/backend/cuda/digest.cuh"
#include "impl/backend/cuda/kernels.h"

namespace holdfast::sim::cuda {
namespace {

using namespace backend::cuda;

/// Every block, every phase, every thread. Blocks, and threads between two barriers, run forwards or backwards: code that needs an order
/// among them, hence a barrier that is not there, fails for some seeds.
template <typename Body>
void for_each_thread(std::uint32_t blocks, std::uint32_t phases, State& state, Body body) {
  const bool blocks_backwards = state.pick(2) == 1;
  const bool threads_backwards = state.pick(2) == 1;
  for (std::uint32_t b = 0; b < blocks; ++b) {
    const std::uint32_t block = blocks_backwards ? blocks - 1 - b : b;
    for (std::uint32_t phase = 0; phase < phases; ++phase) {
      for (std::uint32_t t = 0; t < block_threads; ++t) {
        body(Thread{threads_backwards ? block_threads - 1 - t : t, block}, phase);
      }
    }
  }
}

template <typename Share>
const Share* in_image(const Table& table, std::uint64_t offset) {
  return reinterpret_cast<const Share*>(table.image + offset);
}

Access access(const void* begin, std::size_t bytes, bool writes, bool replaces) {
  return {reinterpret_cast<std::uintptr_t>(begin), bytes, writes, true, replaces};
}

/// The bytes between the first and the last row of a region.
Access extent(const char* data, const Step* steps, std::uint32_t dims, std::size_t row_bytes, bool writes) {
  std::int64_t low = 0, high = static_cast<std::int64_t>(row_bytes);
  for (std::uint32_t d = 0; d < dims; ++d) {
    const std::int64_t reach = (static_cast<std::int64_t>(steps[d].size.divisor) - 1) * steps[d].stride_bytes;
    (reach < 0 ? low : high) += reach;
  }
  return access(data + low, static_cast<std::size_t>(high - low), writes, false);
}

/// Joined where they touch: thousands of shares are mostly a few stretches of memory.
std::vector<Access> joined(std::vector<Access> accesses) {
  const auto kind = [](const Access& a) { return a.writes * 2 + a.replaces; };
  std::ranges::sort(accesses, [&](const Access& a, const Access& b) { return std::pair(kind(a), a.begin) < std::pair(kind(b), b.begin); });
  std::vector<Access> result;
  for (const Access& a : accesses) {
    if (!result.empty() && kind(result.back()) == kind(a) && a.begin <= result.back().begin + result.back().bytes) {
      result.back().bytes = std::max(result.back().bytes, a.begin + a.bytes - result.back().begin);
    } else {
      result.push_back(a);
    }
  }
  return result;
}

/// Whether the table that the blocks are about to read is what was meant to be uploaded before.
bool has_arrived(const char* kernel, const Table& table, std::uint32_t shares, std::uint32_t blocks, State& state) {
  if (shares != blocks) {
    state.find(fmt::format("kernel {}: {} blocks for {} shares", kernel, blocks, shares));
    return false;
  }
  if (std::memcmp(table.memory, table.image, table.bytes) == 0) return true;
  state.find(fmt::format("kernel {} runs before its table has arrived", kernel));
  return false;
}

template <bool gather>
std::vector<Access> move_accesses(const void* argument) {
  const auto& a = *static_cast<const MoveArguments*>(argument);
  const auto* steps = in_image<Step>(a.table, a.steps);
  std::vector<Access> accesses{access(a.table.memory, a.table.bytes, false, false)};
  for (std::uint32_t i = 0; i < a.count; ++i) {
    const MoveShare& share = in_image<MoveShare>(a.table, a.shares)[i];
    const std::size_t first = std::size_t{share.first} * share.word_bytes, bytes = std::size_t{share.count} * share.word_bytes;
    accesses.push_back(share.dims == 0 ? access(share.strided + first, bytes, !gather, !gather)
                                       : extent(share.strided, steps + share.steps, share.dims,
                                                std::size_t{share.row.divisor} * share.word_bytes, !gather));
    accesses.push_back(access(share.packed + first, bytes, gather, gather));
  }
  return joined(std::move(accesses));
}

template <bool gather>
void run_move(std::uint32_t blocks, const void* argument, State& state) {
  const auto& a = *static_cast<const MoveArguments*>(argument);
  if (!has_arrived(gather ? "pack" : "unpack", a.table, a.count, blocks, state)) return;
  for_each_thread(blocks, 1, state, [&](const Thread& at, std::uint32_t) { move_thread<gather>(a, at); });
}

Access extent(const RowsShare& share, const Step* steps) {
  return extent(share.data, steps + share.steps, share.dims, std::size_t{share.row_units} * share.unit_bytes, false);
}
Access extent(const RunShare& share, const Step*) { return access(share.data, std::size_t{share.count} * share.unit_bytes, false, false); }

template <typename Share>
std::vector<Access> digest_accesses(const void* argument) {
  const auto& a = *static_cast<const DigestArguments*>(argument);
  std::vector<Access> accesses{access(a.table.memory, a.table.bytes, false, false),
                               access(a.keys, key_period * sizeof(*a.keys), false, false)};
  for (std::uint32_t i = 0; i < a.count; ++i) {
    const Share& share = in_image<Share>(a.table, a.shares)[i];
    accesses.push_back(extent(share, in_image<Step>(a.table, a.steps)));
    accesses.push_back(access(a.lanes + std::size_t{share.item} * 2, 2 * sizeof(*a.lanes), true, false));
  }
  return joined(std::move(accesses));
}

void run_rows(std::uint32_t blocks, const void* argument, State& state) {
  const auto& a = *static_cast<const DigestArguments*>(argument);
  if (!has_arrived("digest_rows", a.table, a.count, blocks, state)) return;
  DigestShared shared;
  for_each_thread(blocks, rows_phases, state, [&](const Thread& at, std::uint32_t phase) { rows_thread(a, shared, at, phase); });
}

void run_runs(std::uint32_t blocks, const void* argument, State& state) {
  const auto& a = *static_cast<const DigestArguments*>(argument);
  if (!has_arrived("digest_runs", a.table, a.count, blocks, state)) return;
  DigestShared shared;
  for_each_thread(blocks, runs_phases, state, [&](const Thread& at, std::uint32_t phase) { runs_thread(a, shared, at, phase); });
}

constexpr Twin pack{"pack", sizeof(MoveArguments), block_threads, move_accesses<true>, run_move<true>};
constexpr Twin unpack{"unpack", sizeof(MoveArguments), block_threads, move_accesses<false>, run_move<false>};
constexpr Twin digest_rows{"digest_rows", sizeof(DigestArguments), block_threads, digest_accesses<RowsShare>, run_rows};
constexpr Twin digest_runs{"digest_runs", sizeof(DigestArguments), block_threads, digest_accesses<RunShare>, run_runs};

}  // namespace

const Twin* find_twin(const void* function) {
  if (function == kernel_function(Kernel::pack)) return &pack;
  if (function == kernel_function(Kernel::unpack)) return &unpack;
  if (function == kernel_function(Kernel::digest_rows)) return &digest_rows;
  if (function == kernel_function(Kernel::digest_runs)) return &digest_runs;
  return nullptr;
}

}  // namespace holdfast::sim::cuda
