// The inner loops of the two digests, one table for each instruction set. Private to impl/core: digest.cc is the only caller.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::digest_kernels {

inline constexpr std::uint64_t period = 4096;  ///< units that share one B key
inline constexpr unsigned lanes = 2;

struct alignas(64) KeyTable {
  std::uint64_t a[lanes][period];
  std::uint64_t prefix[lanes][period + 1];  ///< prefix[l][i] = a[l][0] + ... + a[l][i - 1], mod 2^64
};
extern const KeyTable keys;

/// sums[r][l] = sum over i < count of unit(r, i) * a[l][first + i], mod 2^64. Units are packed; row r begins r * period units after `data`.
using SumRows = void (*)(const std::byte* data, std::uint64_t first, std::uint64_t count, std::uint64_t (*sums)[lanes]);

inline constexpr std::size_t xxh3_state_bytes = 576;
inline constexpr int rows_at_once = 4;  // a key that is loaded serves four rows: keys are four times as wide as bf16 data and live in L2

struct Table {
  // Index: log2 of the bytes of a unit, 0 to 2.
  SumRows sum_row[3];
  SumRows sum_rows[3];  ///< rows_at_once rows
  void (*xxh3_128)(const std::byte* data, std::size_t size, std::uint64_t* low, std::uint64_t* high);
  // The same in parts, over a state of xxh3_state_bytes, aligned to 64.
  void (*xxh3_begin)(void* state);
  void (*xxh3_update)(void* state, const std::byte* data, std::size_t size);
  void (*xxh3_128_end)(const void* state, std::uint64_t* low, std::uint64_t* high);
};

extern const Table portable;
#ifdef __x86_64__
extern const Table avx2;  // compiled with flags of its own: call it only where the processor has them
extern const Table avx512;
#endif

}  // namespace holdfast::digest_kernels
