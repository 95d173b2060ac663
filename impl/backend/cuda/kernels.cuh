// What one thread of each kernel does, in C++ that nvcc and g++ both compile: kernels.cu wraps it for the device, sim/cuda runs it on
// the host. A kernel is a number of phases; every thread of a block ends a phase before one begins the next. How they are meant to be fast: README.md.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define HOLDFAST_DEVICE __device__
#else
#define HOLDFAST_DEVICE
#endif

namespace holdfast::backend::cuda {

constexpr std::uint32_t block_threads = 256;
constexpr std::uint32_t key_period = 4096;  // units that share one B key (impl/core/digest.cc)
constexpr std::uint32_t chunk_bytes_max = 16;
constexpr std::uint32_t run_periods_max = block_threads;  // of a share: a thread makes one B key

/// Division by a constant below 2^31 of numbers below 2^31: n / divisor == (high32(n * multiplier) + n) >> shift.
struct Divisor {
  std::uint32_t divisor;
  std::uint32_t multiplier;
  std::uint32_t shift;
};

/// One dimension over rows.
struct Step {
  Divisor size;
  std::int64_t stride_bytes;
  std::uint64_t index_stride;  // numbers of units in the tensor, beside stride_bytes
};

/// A block's words of a region that is packed, or unpacked: word n of `packed` is word n of the region, row-major. Both are aligned to word_bytes,
/// one of 1, 2, 4, 8, 16.
struct MoveShare {
  char* strided;  // the region's first word
  char* packed;
  Divisor row;          // words that lie one behind the other
  std::uint32_t steps;  // the first of `dims` steps from row to row, outermost first
  std::uint32_t dims;
  std::uint32_t first;  // the share: words [first, first + count)
  std::uint32_t count;
  std::uint32_t word_bytes;
};

/// A block's chunks of a region that is digested. Rows are cut where addresses are multiples of chunk_bytes, 16 or that of a unit; a row has as many chunks
/// as the worst of them, the last may be empty.
struct RowsShare {
  const char* data;     // the region's first unit
  std::uint64_t index;  // its number
  Divisor row;          // chunks
  std::uint32_t row_units;
  std::uint32_t steps;
  std::uint32_t dims;
  std::uint32_t first;
  std::uint32_t count;
  std::uint32_t item;  // whose lanes
  std::uint32_t unit_bytes;
  std::uint32_t chunk_bytes;
};

/// A block's units of a long run: consecutive in memory and in number. Address and number of a unit that begins 16 aligned bytes agree: 16 / unit_bytes divides its
/// number. At most run_periods_max whole periods.
struct RunShare {
  const char* data;
  std::uint64_t index;
  std::uint32_t count;
  std::uint32_t item;
  std::uint32_t unit_bytes;
};

/// What the blocks of all launches of a batch read: shares, one a block, and steps. `image` is the pinned memory that it was uploaded from; only the
/// simulated runtime reads that, to know what a launch will touch.
struct Table {
  const char* memory;
  const char* image;
  std::uint64_t bytes;
};

struct MoveArguments {
  Table table;
  std::uint64_t shares;  // offsets in the table
  std::uint64_t steps;
  std::uint32_t count;  // of the shares, and of blocks
};

/// A of the formula, both lanes.
struct alignas(16) Key {
  std::uint64_t lane[2];
};

/// lanes[item] += tensor digest of the share's units; unit_bytes is 1, 2 or 4.
struct DigestArguments {
  Table table;
  std::uint64_t shares;
  std::uint64_t steps;
  const Key* keys;            // key_period of them, that of unit i at key_place(i)
  unsigned long long* lanes;  // two an item
  std::uint32_t count;
};

/// Where a thread stands in a one-dimensional grid.
struct Thread {
  std::uint32_t thread;
  std::uint32_t block;
};

struct alignas(16) Word16 {
  std::uint32_t part[4];
};

/// Reads memory that is not used again, past what the cache holds.
template <typename Word>
HOLDFAST_DEVICE inline Word load_once(const void* from) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(Word) == 16) {
    const uint4 word = __ldcs(static_cast<const uint4*>(from));
    return {{word.x, word.y, word.z, word.w}};
  } else {
    return __ldcs(static_cast<const Word*>(from));
  }
#else
  return *static_cast<const Word*>(from);
#endif
}

template <typename Share>
HOLDFAST_DEVICE inline const Share* shares_of(const Table& table, std::uint64_t offset) {
  return reinterpret_cast<const Share*>(table.memory + offset);
}

HOLDFAST_DEVICE inline std::uint32_t divide(std::uint32_t n, const Divisor& by) {
  const auto high = static_cast<std::uint32_t>((static_cast<std::uint64_t>(n) * by.multiplier) >> 32);
  return (high + n) >> by.shift;
}

struct Place {
  std::int64_t offset_bytes;
  std::uint64_t index;
};

/// Where a row lies, from the first.
HOLDFAST_DEVICE inline Place place_of(const Step* steps, std::uint32_t dims, std::uint32_t row) {
  Place place{0, 0};
  for (std::uint32_t d = dims; d-- > 0;) {
    const std::uint32_t rest = d == 0 ? 0 : divide(row, steps[d].size);
    const std::uint32_t here = row - rest * steps[d].size.divisor;
    place.offset_bytes += static_cast<std::int64_t>(here) * steps[d].stride_bytes;
    place.index += here * steps[d].index_stride;
    row = rest;
  }
  return place;
}

/// Four words are under way before the first is stored: what is stored might otherwise be what is loaded next, for all that the compiler knows.
template <typename Word, bool gather>
HOLDFAST_DEVICE inline void move_words(const MoveShare& share, const Step* steps, const Thread& at) {
  constexpr std::uint32_t together = 4;
  for (std::uint32_t i = at.thread; i < share.count; i += together * block_threads) {
    Word words[together];
    char* to[together];
    for (std::uint32_t k = 0; k < together; ++k) {
      to[k] = nullptr;
      if (i + k * block_threads >= share.count) continue;
      const std::uint32_t n = share.first + i + k * block_threads;
      const std::uint32_t row = divide(n, share.row);
      char* strided = share.strided + place_of(steps, share.dims, row).offset_bytes +
                      static_cast<std::int64_t>(n - row * share.row.divisor) * static_cast<std::int64_t>(sizeof(Word));
      char* packed = share.packed + static_cast<std::int64_t>(n) * static_cast<std::int64_t>(sizeof(Word));
      words[k] = load_once<Word>(gather ? strided : packed);
      to[k] = gather ? packed : strided;
    }
    for (std::uint32_t k = 0; k < together; ++k) {
      if (to[k] != nullptr) *reinterpret_cast<Word*>(to[k]) = words[k];
    }
  }
}

/// The body of the kernels pack (gather) and unpack. One phase; every thread takes the same branch.
template <bool gather>
HOLDFAST_DEVICE inline void move_thread(const MoveArguments& arguments, const Thread& at) {
  const MoveShare share = shares_of<MoveShare>(arguments.table, arguments.shares)[at.block];
  const Step* steps = shares_of<Step>(arguments.table, arguments.steps) + share.steps;
  switch (share.word_bytes) {
    case 1: return move_words<std::uint8_t, gather>(share, steps, at);
    case 2: return move_words<std::uint16_t, gather>(share, steps, at);
    case 4: return move_words<std::uint32_t, gather>(share, steps, at);
    case 8: return move_words<unsigned long long, gather>(share, steps, at);
    default: return move_words<Word16, gather>(share, steps, at);
  }
}

}  // namespace holdfast::backend::cuda
