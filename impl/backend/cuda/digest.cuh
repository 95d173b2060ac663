// What one thread of the kernels digest_rows and digest_runs does (kernels.cuh). The formula stands in impl/format/FORMAT.md.
#pragma once

#include "impl/backend/cuda/kernels.cuh"

namespace holdfast::backend::cuda {

/// What a block's threads share.
struct DigestShared {
  unsigned long long lanes[2][block_threads];
  unsigned long long keys_b[run_periods_max][2];
};

HOLDFAST_DEVICE inline std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// digest_key_b of impl/core/digest.h.
HOLDFAST_DEVICE inline std::uint64_t key_b(std::uint32_t lane, std::uint64_t index) { return splitmix64(splitmix64(2 + lane) ^ index) | 1; }

/// So that the threads of a warp, whose chunks of 4, 8 or 16 units lie one behind the other, find the keys of their nth units side by side.
HOLDFAST_DEVICE constexpr std::uint32_t key_place(std::uint32_t residue) { return (residue & 15) << 8 | residue >> 4; }

HOLDFAST_DEVICE inline Key load_key(const Key* keys, std::uint32_t residue) {
#ifdef __CUDA_ARCH__
  const ulonglong2 key = __ldg(reinterpret_cast<const ulonglong2*>(keys + key_place(residue)));
  return {{key.x, key.y}};
#else
  return keys[key_place(residue)];
#endif
}

/// sum += a * b, as one instruction: left to itself the compiler makes one sum of low and high below, with an addition more a unit.
HOLDFAST_DEVICE inline void multiply_add(std::uint64_t& sum, std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
  asm("mad.wide.u32 %0, %1, %2, %0;" : "+l"(sum) : "r"(a), "r"(b));
#else
  sum += static_cast<std::uint64_t>(a) * b;
#endif
}
HOLDFAST_DEVICE inline void multiply_add(std::uint32_t& sum, std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
  asm("mad.lo.u32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
#else
  sum += a * b;
#endif
}

/// Sums of both lanes within a period, low + (high << 32): a unit times a key is then one multiplication to 64 bits and one to 32.
struct Partial {
  std::uint64_t low[2];
  std::uint32_t high[2];

  HOLDFAST_DEVICE void add(std::uint32_t unit, const Key& key) {
    for (std::uint32_t lane = 0; lane < 2; ++lane) {
      multiply_add(low[lane], unit, static_cast<std::uint32_t>(key.lane[lane]));
      multiply_add(high[lane], unit, static_cast<std::uint32_t>(key.lane[lane] >> 32));
    }
  }
  /// The one that the formula adds to each unit.
  HOLDFAST_DEVICE void add_one(const Key& key) {
    for (std::uint32_t lane = 0; lane < 2; ++lane) low[lane] += key.lane[lane];
  }
  HOLDFAST_DEVICE std::uint64_t sum(std::uint32_t lane) const { return low[lane] + (static_cast<std::uint64_t>(high[lane]) << 32); }
};

template <typename Unit>
HOLDFAST_DEVICE inline std::uint32_t unit_of(const Word16& word, std::uint32_t n) {
  constexpr std::uint32_t in_part = 4 / sizeof(Unit);
  return static_cast<Unit>(word.part[n / in_part] >> (n % in_part * 8 * sizeof(Unit)));
}

/// A thread's sum of units that come in any order, best one period after the other.
template <typename Unit>
struct Sum {
  const Key* keys;
  std::uint64_t lanes[2] = {0, 0};
  Partial partial = {{0, 0}, {0, 0}};
  std::uint64_t period = 0;

  HOLDFAST_DEVICE void end_period() {
    for (std::uint32_t lane = 0; lane < 2; ++lane) lanes[lane] += partial.sum(lane) * key_b(lane, period);
    partial = {{0, 0}, {0, 0}};
  }
  HOLDFAST_DEVICE void enter_period(std::uint64_t index) {
    if (index / key_period == period) return;
    end_period();
    period = index / key_period;
  }
  HOLDFAST_DEVICE void add(std::uint32_t unit, std::uint64_t index) {
    enter_period(index);
    const Key key = load_key(keys, static_cast<std::uint32_t>(index % key_period));
    partial.add(unit, key);
    partial.add_one(key);
  }
  /// The units from `from` to `to` of one chunk; the first has number `index`.
  HOLDFAST_DEVICE void add_chunk(const char* from, const char* to, std::uint64_t index) {
    constexpr std::uint32_t units = chunk_bytes_max / sizeof(Unit);
    const auto residue = static_cast<std::uint32_t>(index % key_period);
    if (to - from != chunk_bytes_max || residue + units > key_period) {
      for (; from < to; from += sizeof(Unit)) add(load_once<Unit>(from), index++);
      return;
    }
    enter_period(index);
    const auto word = load_once<Word16>(from);
    for (std::uint32_t n = 0; n < units; ++n) {
      const Key key = load_key(keys, residue + n);
      partial.add(unit_of<Unit>(word, n), key);
      partial.add_one(key);
    }
  }
  /// Chunk n of `units` units without gaps.
  HOLDFAST_DEVICE void add_chunk_of(const char* data, std::uint64_t index, std::uint32_t units, std::uint32_t chunk_bytes,
                                    std::uint32_t n) {
    const char* const end = data + static_cast<std::size_t>(units) * sizeof(Unit);
    const auto past = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(data) & (chunk_bytes - 1));
    const char* const chunk = data - past + static_cast<std::size_t>(n) * chunk_bytes;
    const char* const from = n == 0 ? data : chunk;
    const char* const to = chunk + chunk_bytes < end ? chunk + chunk_bytes : end;
    if (from < to) add_chunk(from, to, index + static_cast<std::uint64_t>(from - data) / sizeof(Unit));
  }
};

template <typename Unit>
HOLDFAST_DEVICE inline void sum_rows(const RowsShare& share, const Step* steps, const Key* keys, const Thread& at,
                                     std::uint64_t (&lanes)[2]) {
  Sum<Unit> sum{keys};
  for (std::uint32_t i = at.thread; i < share.count; i += block_threads) {
    const std::uint32_t n = share.first + i;
    const std::uint32_t row = divide(n, share.row);
    const Place place = place_of(steps, share.dims, row);
    sum.add_chunk_of(share.data + place.offset_bytes, share.index + place.index, share.row_units, share.chunk_bytes,
                     n - row * share.row.divisor);
  }
  sum.end_period();
  for (std::uint32_t lane = 0; lane < 2; ++lane) lanes[lane] = sum.lanes[lane];
}

/// The whole periods of a run's share.
struct WholePeriods {
  std::uint64_t first;
  std::uint32_t count;
};
HOLDFAST_DEVICE inline WholePeriods whole_periods(const RunShare& share) {
  const std::uint64_t first = (share.index + key_period - 1) / key_period, end = (share.index + share.count) / key_period;
  return {first, end > first ? static_cast<std::uint32_t>(end - first) : 0};
}

/// How a thread's chunks lie in a period, in all 16 units: a thread meets the same 16 keys in every period, and keeps them in registers.
template <typename Unit>
struct Chunks {
  static constexpr std::uint32_t units = chunk_bytes_max / static_cast<std::uint32_t>(sizeof(Unit));
  static constexpr std::uint32_t count = key_period / units / block_threads;
  static_assert(count * units == 16);
};

template <typename Unit>
struct OwnKeys {
  using Of = Chunks<Unit>;
  Key own[Of::count][Of::units];
  Partial ones = {{0, 0}, {0, 0}};

  HOLDFAST_DEVICE OwnKeys(const Key* keys, std::uint32_t thread) {
    for (std::uint32_t chunk = 0; chunk < Of::count; ++chunk) {
      for (std::uint32_t n = 0; n < Of::units; ++n) {
        own[chunk][n] = load_key(keys, (chunk * block_threads + thread) * Of::units + n);
        ones.add_one(own[chunk][n]);
      }
    }
  }
  HOLDFAST_DEVICE Key sum(const Word16 (&words)[Of::count]) const {
    Partial partial = ones;
    for (std::uint32_t chunk = 0; chunk < Of::count; ++chunk) {
      for (std::uint32_t n = 0; n < Of::units; ++n) partial.add(unit_of<Unit>(words[chunk], n), own[chunk][n]);
    }
    return {{partial.sum(0), partial.sum(1)}};
  }
};

/// sum + the products of the four bytes of `a` and of `b`.
HOLDFAST_DEVICE inline std::uint32_t dot(std::uint32_t a, std::uint32_t b, std::uint32_t sum) {
#ifdef __CUDA_ARCH__
  return __dp4a(a, b, sum);
#else
  for (std::uint32_t n = 0; n < 32; n += 8) sum += (a >> n & 255) * (b >> n & 255);
  return sum;
#endif
}

/// Bytes by bytes: four units, as they were loaded, times the nth bytes of their keys are one instruction, and nothing is unpacked.
template <>
struct OwnKeys<std::uint8_t> {
  std::uint32_t bytes[2][8][4];  ///< [lane][byte of a key][four units], a unit a byte
  std::uint64_t ones[2] = {0, 0};

  HOLDFAST_DEVICE OwnKeys(const Key* keys, std::uint32_t thread) {
    for (std::uint32_t part = 0; part < 4; ++part) {
      Key four[4];
      for (std::uint32_t n = 0; n < 4; ++n) four[n] = load_key(keys, thread * 16 + part * 4 + n);
      for (std::uint32_t lane = 0; lane < 2; ++lane) {
        for (const Key& key : four) ones[lane] += key.lane[lane];
        for (std::uint32_t byte = 0; byte < 8; ++byte) {
          std::uint32_t word = 0;
          for (std::uint32_t n = 0; n < 4; ++n) word |= (static_cast<std::uint32_t>(four[n].lane[lane] >> byte * 8) & 255) << n * 8;
          bytes[lane][byte][part] = word;
        }
      }
    }
  }
  HOLDFAST_DEVICE Key sum(const Word16 (&words)[1]) const {
    Key result{{ones[0], ones[1]}};
    for (std::uint32_t lane = 0; lane < 2; ++lane) {
      for (std::uint32_t byte = 0; byte < 8; byte += 2) {
        std::uint32_t low = 0, high = 0;  // at most 16 * 255 * 255 each
        for (std::uint32_t part = 0; part < 4; ++part) {
          low = dot(words[0].part[part], bytes[lane][byte][part], low);
          high = dot(words[0].part[part], bytes[lane][byte + 1][part], high);
        }
        result.lane[lane] += static_cast<std::uint64_t>(low + (high << 8)) << byte * 8;
      }
    }
    return result;
  }
};

template <typename Unit>
HOLDFAST_DEVICE inline void sum_periods(const char* data, std::uint32_t periods, const Key* keys, const DigestShared& shared,
                                        const Thread& at, std::uint64_t (&lanes)[2]) {
  constexpr std::uint32_t chunks = Chunks<Unit>::count;
  constexpr std::uint32_t together = 4 / chunks;  // periods, so that four chunks are under way
  const OwnKeys<Unit> own(keys, at.thread);
  const auto load = [&](std::uint32_t period, std::uint32_t chunk) {
    const std::size_t number = (std::size_t{period} * chunks + chunk) * block_threads + at.thread;
    return load_once<Word16>(data + number * chunk_bytes_max);
  };
  const auto add = [&](std::uint32_t period, const Word16(&words)[chunks]) {
    const Key sum = own.sum(words);
    for (std::uint32_t lane = 0; lane < 2; ++lane) lanes[lane] += sum.lane[lane] * shared.keys_b[period][lane];
  };
  std::uint32_t period = 0;
  for (; period + together <= periods; period += together) {
    Word16 words[together][chunks];
    for (std::uint32_t p = 0; p < together; ++p) {
      for (std::uint32_t chunk = 0; chunk < chunks; ++chunk) words[p][chunk] = load(period + p, chunk);
    }
    for (std::uint32_t p = 0; p < together; ++p) add(period + p, words[p]);
  }
  for (; period < periods; ++period) {
    Word16 words[chunks];
    for (std::uint32_t chunk = 0; chunk < chunks; ++chunk) words[chunk] = load(period, chunk);
    add(period, words);
  }
}

template <typename Unit>
HOLDFAST_DEVICE inline void sum_run(const RunShare& share, const Key* keys, const DigestShared& shared, const Thread& at,
                                    std::uint64_t (&lanes)[2]) {
  const WholePeriods whole = whole_periods(share);
  const auto part = [&](const char* data, std::uint64_t index, std::uint32_t units) {
    Sum<Unit> sum{keys};
    const std::uint32_t chunks = units / Chunks<Unit>::units + 2;  // the first and the last may be cut
    for (std::uint32_t n = at.thread; n < chunks; n += block_threads) sum.add_chunk_of(data, index, units, chunk_bytes_max, n);
    sum.end_period();
    for (std::uint32_t lane = 0; lane < 2; ++lane) lanes[lane] += sum.lanes[lane];
  };
  const std::uint32_t head = whole.count == 0 ? share.count : static_cast<std::uint32_t>(whole.first * key_period - share.index);
  const std::uint32_t middle = whole.count * key_period;
  if (head != 0) part(share.data, share.index, head);
  if (middle != 0) sum_periods<Unit>(share.data + std::size_t{head} * sizeof(Unit), whole.count, keys, shared, at, lanes);
  const std::uint32_t tail = share.count - head - middle;
  if (tail != 0) part(share.data + (std::size_t{head} + middle) * sizeof(Unit), share.index + head + middle, tail);
}

HOLDFAST_DEVICE inline void add_to_lane(unsigned long long* lane, unsigned long long value) {
#ifdef __CUDA_ARCH__
  atomicAdd(lane, value);
#else
  *lane += value;  // the simulated device runs one thread at a time
#endif
}

/// Each phase halves the threads that still hold a sum (128, 64, .. 1); the last adds to the item's lanes.
constexpr std::uint32_t reduce_phases = 9;
static_assert(block_threads >> (reduce_phases - 1) == 1, "a phase for each halving, one after");

HOLDFAST_DEVICE inline void reduce(DigestShared& shared, unsigned long long* lanes, const Thread& at, std::uint32_t phase) {
  if (phase + 1 == reduce_phases) {
    if (at.thread < 2) add_to_lane(lanes + at.thread, shared.lanes[at.thread][0]);
    return;
  }
  const std::uint32_t half = block_threads >> (phase + 1);
  if (at.thread >= half) return;
  for (auto& lane : shared.lanes) lane[at.thread] += lane[at.thread + half];
}

/// The body of the kernel digest_rows. Phase 0 sums; every thread takes the same branch.
constexpr std::uint32_t rows_phases = 1 + reduce_phases;

HOLDFAST_DEVICE inline void rows_thread(const DigestArguments& arguments, DigestShared& shared, const Thread& at, std::uint32_t phase) {
  const RowsShare& share = shares_of<RowsShare>(arguments.table, arguments.shares)[at.block];
  if (phase != 0) return reduce(shared, arguments.lanes + std::size_t{share.item} * 2, at, phase - 1);
  const Step* steps = shares_of<Step>(arguments.table, arguments.steps) + share.steps;
  std::uint64_t lanes[2] = {0, 0};
  switch (share.unit_bytes) {
    case 1: sum_rows<std::uint8_t>(share, steps, arguments.keys, at, lanes); break;
    case 2: sum_rows<std::uint16_t>(share, steps, arguments.keys, at, lanes); break;
    default: sum_rows<std::uint32_t>(share, steps, arguments.keys, at, lanes); break;
  }
  for (std::uint32_t lane = 0; lane < 2; ++lane) shared.lanes[lane][at.thread] = lanes[lane];
}

/// The body of the kernel digest_runs. Phase 0 makes the B keys, phase 1 sums.
constexpr std::uint32_t runs_phases = 2 + reduce_phases;

HOLDFAST_DEVICE inline void runs_thread(const DigestArguments& arguments, DigestShared& shared, const Thread& at, std::uint32_t phase) {
  const RunShare& share = shares_of<RunShare>(arguments.table, arguments.shares)[at.block];
  if (phase == 0) {
    const WholePeriods whole = whole_periods(share);
    if (at.thread >= whole.count) return;
    for (std::uint32_t lane = 0; lane < 2; ++lane) shared.keys_b[at.thread][lane] = key_b(lane, whole.first + at.thread);
    return;
  }
  if (phase != 1) return reduce(shared, arguments.lanes + std::size_t{share.item} * 2, at, phase - 2);
  std::uint64_t lanes[2] = {0, 0};
  switch (share.unit_bytes) {
    case 1: sum_run<std::uint8_t>(share, arguments.keys, shared, at, lanes); break;
    case 2: sum_run<std::uint16_t>(share, arguments.keys, shared, at, lanes); break;
    default: sum_run<std::uint32_t>(share, arguments.keys, shared, at, lanes); break;
  }
  for (std::uint32_t lane = 0; lane < 2; ++lane) shared.lanes[lane][at.thread] = lanes[lane];
}

}  // namespace holdfast::backend::cuda
