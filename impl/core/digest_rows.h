// The loop that every instruction set shares. Included once by each digest_kernels_*.cc, which names its vectors in `Isa`.
// All names here are local to the including file, because each is compiled with other flags.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <new>

#include "impl/core/digest_kernels.h"

namespace holdfast::digest_kernels {
namespace {

template <typename Isa, typename Word, int rows>
void sum_rows(const std::byte* data, std::uint64_t first, std::uint64_t count, std::uint64_t (*sums)[lanes]) {
  constexpr std::uint64_t row_bytes = period * sizeof(Word);
  typename Isa::Sum vector_sums[rows][lanes];
  for (int row = 0; row < rows; ++row) {
    for (unsigned lane = 0; lane < lanes; ++lane) vector_sums[row][lane] = Isa::zero();
  }
  std::uint64_t i = 0;
  for (; i + Isa::width <= count; i += Isa::width) {
    const typename Isa::Key key0 = Isa::load_key(keys.a[0] + first + i);
    const typename Isa::Key key1 = Isa::load_key(keys.a[1] + first + i);
#pragma GCC unroll 4
    for (int row = 0; row < rows; ++row) {
      const auto units = Isa::template load_units<Word>(data + row * row_bytes + i * sizeof(Word));
      Isa::add_product(vector_sums[row][0], units, key0);
      Isa::add_product(vector_sums[row][1], units, key1);
    }
  }
  for (int row = 0; row < rows; ++row) {
    for (unsigned lane = 0; lane < lanes; ++lane) {
      std::uint64_t sum = Isa::total(vector_sums[row][lane]);
      for (std::uint64_t rest = i; rest < count; ++rest) {
        Word word;
        __builtin_memcpy(&word, data + row * row_bytes + rest * sizeof(Word), sizeof(Word));
        sum += word * keys.a[lane][first + rest];
      }
      sums[row][lane] = sum;
    }
  }
}

void xxh3_128(const std::byte* data, std::size_t size, std::uint64_t* low, std::uint64_t* high) {
  const XXH128_hash_t hash = XXH3_128bits(data, size);
  *low = hash.low64;
  *high = hash.high64;
}

static_assert(sizeof(XXH3_state_t) <= xxh3_state_bytes && alignof(XXH3_state_t) <= 64);

void xxh3_begin(void* state) {
  auto* xxh3 = new (state) XXH3_state_t;
  XXH3_INITSTATE(xxh3);
  XXH3_128bits_reset(xxh3);
}

void xxh3_update(void* state, const std::byte* data, std::size_t size) {
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state), data, size);
}

void xxh3_128_end(const void* state, std::uint64_t* low, std::uint64_t* high) {
  const XXH128_hash_t hash = XXH3_128bits_digest(static_cast<const XXH3_state_t*>(state));
  *low = hash.low64;
  *high = hash.high64;
}

template <typename Isa>
constexpr Table make_table() {
  return {
      {sum_rows<Isa, std::uint8_t, 1>, sum_rows<Isa, std::uint16_t, 1>, sum_rows<Isa, std::uint32_t, 1>},
      {sum_rows<Isa, std::uint8_t, rows_at_once>, sum_rows<Isa, std::uint16_t, rows_at_once>, sum_rows<Isa, std::uint32_t, rows_at_once>},
      xxh3_128,
      xxh3_begin,
      xxh3_update,
      xxh3_128_end};
}

}  // namespace
}  // namespace holdfast::digest_kernels
