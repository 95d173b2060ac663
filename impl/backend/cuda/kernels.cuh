// What one thread of each kernel does, in C++ that nvcc and g++ both compile: kernels.cu wraps it for the device, sim/cuda runs it on
// the host. A kernel is a number of phases; every thread of a block ends a phase before one begins the next.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define HOLDFAST_DEVICE __device__
#else
#define HOLDFAST_DEVICE
#endif

namespace holdfast::backend::cuda {

constexpr std::uint32_t walk_dims_max = 8;
constexpr std::uint32_t block_threads = 256;
constexpr std::uint32_t key_period = 4096;  // elements that share one B key (impl/core/digest.cc)

/// Division by a constant below 2^31 of numbers below 2^31: n / divisor == (high32(n * multiplier) + n) >> shift.
struct Divisor {
  std::uint32_t divisor;
  std::uint32_t multiplier;
  std::uint32_t shift;
};

/// Numbers the units of a strided region row-major, outermost dimension first, and finds unit n in memory.
struct Walk {
  std::uint32_t dims;
  Divisor sizes[walk_dims_max];
  std::int64_t strides_bytes[walk_dims_max];
};

/// Unit n of `packed` is unit n of the walk over `strided`. Both are aligned to word_bytes, one of 1, 2, 4, 8, 16.
struct PackArguments {
  Walk walk;
  char* strided;
  char* packed;
  std::uint32_t count;
  std::uint32_t word_bytes;
};

/// lanes += tensor digest of the units of the walk; unit_bytes is 1, 2 or 4.
struct DigestArguments {
  Walk walk;
  const char* data;
  std::uint64_t index_strides[walk_dims_max];  // numbers of units in the tensor, beside strides_bytes
  std::uint64_t index;                         // number of the walk's first unit
  const std::uint64_t* keys;                   // A, [index mod key_period][lane]
  unsigned long long* lanes;
  std::uint32_t count;
  std::uint32_t units_per_block;
  std::uint32_t unit_bytes;
};

/// Where a thread stands in a one-dimensional grid.
struct Thread {
  std::uint32_t thread;
  std::uint32_t block;
  std::uint32_t blocks;
};

/// What a block's threads share.
struct DigestShared {
  unsigned long long lanes[2][block_threads];
};

HOLDFAST_DEVICE inline std::uint32_t divide(std::uint32_t n, const Divisor& by) {
  const auto high = static_cast<std::uint32_t>((static_cast<std::uint64_t>(n) * by.multiplier) >> 32);
  return (high + n) >> by.shift;
}

HOLDFAST_DEVICE inline std::int64_t byte_offset(const Walk& walk, std::uint32_t n) {
  std::int64_t offset = 0;
  for (std::uint32_t d = walk.dims; d-- > 1;) {
    const std::uint32_t rest = divide(n, walk.sizes[d]);
    offset += static_cast<std::int64_t>(n - rest * walk.sizes[d].divisor) * walk.strides_bytes[d];
    n = rest;
  }
  return walk.dims == 0 ? 0 : offset + static_cast<std::int64_t>(n) * walk.strides_bytes[0];
}

struct alignas(16) Word16 {
  std::uint64_t low;
  std::uint64_t high;
};

template <typename Word, bool gather>
HOLDFAST_DEVICE inline void move_words(const PackArguments& arguments, const Thread& at) {
  auto* packed = reinterpret_cast<Word*>(arguments.packed);
  for (std::uint32_t n = at.block * block_threads + at.thread; n < arguments.count; n += at.blocks * block_threads) {
    auto* strided = reinterpret_cast<Word*>(arguments.strided + byte_offset(arguments.walk, n));
    if constexpr (gather) {
      packed[n] = *strided;
    } else {
      *strided = packed[n];
    }
  }
}

/// The body of the kernels pack (gather) and unpack. One phase; every thread takes the same branch.
template <bool gather>
HOLDFAST_DEVICE inline void pack_thread(const PackArguments& arguments, const Thread& at) {
  switch (arguments.word_bytes) {
    case 1: return move_words<std::uint8_t, gather>(arguments, at);
    case 2: return move_words<std::uint16_t, gather>(arguments, at);
    case 4: return move_words<std::uint32_t, gather>(arguments, at);
    case 8: return move_words<std::uint64_t, gather>(arguments, at);
    default: return move_words<Word16, gather>(arguments, at);
  }
}

HOLDFAST_DEVICE inline std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// digest_key_b of impl/core/digest.h.
HOLDFAST_DEVICE inline std::uint64_t key_b(std::uint32_t lane, std::uint64_t index) { return splitmix64(splitmix64(2 + lane) ^ index) | 1; }

HOLDFAST_DEVICE inline std::uint64_t tensor_index(const DigestArguments& arguments, std::uint32_t n) {
  const Walk& walk = arguments.walk;
  std::uint64_t index = arguments.index;
  for (std::uint32_t d = walk.dims; d-- > 1;) {
    const std::uint32_t rest = divide(n, walk.sizes[d]);
    index += (n - rest * walk.sizes[d].divisor) * arguments.index_strides[d];
    n = rest;
  }
  return walk.dims == 0 ? index : index + n * arguments.index_strides[0];
}

/// A block takes consecutive units, so that a thread multiplies B in once for each period it meets, not once a unit.
template <typename Unit>
HOLDFAST_DEVICE inline void sum_units(const DigestArguments& arguments, DigestShared& shared, const Thread& at) {
  const std::uint32_t first = at.block * arguments.units_per_block;
  const std::uint32_t left = first < arguments.count ? arguments.count - first : 0;
  const std::uint32_t mine = left < arguments.units_per_block ? left : arguments.units_per_block;
  std::uint64_t sums[2] = {0, 0};
  std::uint64_t partial[2] = {0, 0};
  std::uint64_t period = 0;
  for (std::uint32_t i = at.thread; i < mine; i += block_threads) {
    const std::uint64_t index = tensor_index(arguments, first + i);
    if (index / key_period != period) {
      for (std::uint32_t lane = 0; lane < 2; ++lane) sums[lane] += partial[lane] * key_b(lane, period);
      partial[0] = partial[1] = 0;
      period = index / key_period;
    }
    const Unit unit = *reinterpret_cast<const Unit*>(arguments.data + byte_offset(arguments.walk, first + i));
    const std::uint64_t value = static_cast<std::uint64_t>(unit) + 1;
    const std::uint64_t* keys = arguments.keys + index % key_period * 2;
    partial[0] += value * keys[0];
    partial[1] += value * keys[1];
  }
  for (std::uint32_t lane = 0; lane < 2; ++lane) shared.lanes[lane][at.thread] = sums[lane] + partial[lane] * key_b(lane, period);
}

HOLDFAST_DEVICE inline void add_to_lane(unsigned long long* lane, unsigned long long value) {
#ifdef __CUDA_ARCH__
  atomicAdd(lane, value);
#else
  *lane += value;  // the simulated device runs one thread at a time
#endif
}

/// Phase 0 sums a thread's units; each later one halves the threads that still hold a sum (128, 64, .. 1); the last adds to the lanes.
constexpr std::uint32_t digest_phases = 10;
static_assert(block_threads >> (digest_phases - 2) == 1, "a phase for each halving, one before and one after");

HOLDFAST_DEVICE inline void digest_thread(const DigestArguments& arguments, DigestShared& shared, const Thread& at, std::uint32_t phase) {
  if (phase == 0) {
    switch (arguments.unit_bytes) {
      case 1: return sum_units<std::uint8_t>(arguments, shared, at);
      case 2: return sum_units<std::uint16_t>(arguments, shared, at);
      default: return sum_units<std::uint32_t>(arguments, shared, at);
    }
  }
  if (phase + 1 < digest_phases) {
    const std::uint32_t half = block_threads >> phase;
    if (at.thread >= half) return;
    for (auto& lane : shared.lanes) lane[at.thread] += lane[at.thread + half];
    return;
  }
  if (at.thread < 2) add_to_lane(arguments.lanes + at.thread, shared.lanes[at.thread][0]);
}

}  // namespace holdfast::backend::cuda
