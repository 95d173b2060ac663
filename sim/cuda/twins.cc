#include "sim/cuda/twins.h"

#include "impl/backend/cuda/kernels.cuh"
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
        body(Thread{threads_backwards ? block_threads - 1 - t : t, block, blocks}, phase);
      }
    }
  }
}

/// The bytes between the first and the last unit of a walk.
Access extent(const Walk& walk, const char* data, std::uint32_t unit_bytes, bool writes) {
  std::int64_t low = 0, high = unit_bytes;
  for (std::uint32_t d = 0; d < walk.dims; ++d) {
    const std::int64_t reach = (static_cast<std::int64_t>(walk.sizes[d].divisor) - 1) * walk.strides_bytes[d];
    (reach < 0 ? low : high) += reach;
  }
  return {reinterpret_cast<std::uintptr_t>(data + low), static_cast<std::size_t>(high - low), writes, true, false};
}

template <bool gather>
std::vector<Access> pack_accesses(const void* argument) {
  const auto& a = *static_cast<const PackArguments*>(argument);
  const std::size_t packed_bytes = std::size_t{a.count} * a.word_bytes;
  return {extent(a.walk, a.strided, a.word_bytes, !gather),
          {reinterpret_cast<std::uintptr_t>(a.packed), packed_bytes, gather, true, gather}};
}

template <bool gather>
void run_pack(std::uint32_t blocks, const void* argument, State& state) {
  const auto& a = *static_cast<const PackArguments*>(argument);
  for_each_thread(blocks, 1, state, [&](const Thread& at, std::uint32_t) { pack_thread<gather>(a, at); });
}

std::vector<Access> digest_accesses(const void* argument) {
  const auto& a = *static_cast<const DigestArguments*>(argument);
  return {extent(a.walk, a.data, a.unit_bytes, false),
          {reinterpret_cast<std::uintptr_t>(a.keys), 2 * key_period * sizeof(*a.keys), false, true, false},
          {reinterpret_cast<std::uintptr_t>(a.lanes), 2 * sizeof(*a.lanes), true, true, false}};
}

void run_digest(std::uint32_t blocks, const void* argument, State& state) {
  const auto& a = *static_cast<const DigestArguments*>(argument);
  DigestShared shared;
  for_each_thread(blocks, digest_phases, state, [&](const Thread& at, std::uint32_t phase) { digest_thread(a, shared, at, phase); });
}

constexpr Twin pack{"pack", sizeof(PackArguments), block_threads, pack_accesses<true>, run_pack<true>};
constexpr Twin unpack{"unpack", sizeof(PackArguments), block_threads, pack_accesses<false>, run_pack<false>};
constexpr Twin digest{"digest", sizeof(DigestArguments), block_threads, digest_accesses, run_digest};

}  // namespace

const Twin* find_twin(const void* function) {
  if (function == kernel_function(Kernel::pack)) return &pack;
  if (function == kernel_function(Kernel::unpack)) return &unpack;
  if (function == kernel_function(Kernel::digest)) return &digest;
  return nullptr;
}

}  // namespace holdfast::sim::cuda
