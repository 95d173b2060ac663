// Compiled with -mavx512f -mavx512dq.
#include <immintrin.h>

#include "impl/core/digest_rows.h"

namespace holdfast::digest_kernels {
namespace {

struct Avx512 {
  static constexpr std::uint64_t width = 8;
  using Sum = __m512i;
  using Key = __m512i;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Key load_key(const std::uint64_t* key) { return _mm512_loadu_si512(key); }
  template <typename Word>
  static __m512i load_units(const std::byte* data) {
    if constexpr (sizeof(Word) == 4) return _mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(data)));
    if constexpr (sizeof(Word) == 2) return _mm512_cvtepu16_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data)));
    return _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(data)));
  }
  static void add_product(Sum& sum, __m512i units, Key key) { sum = _mm512_add_epi64(sum, _mm512_mullo_epi64(units, key)); }
  static std::uint64_t total(Sum sum) {
    alignas(64) std::uint64_t parts[width];
    _mm512_store_si512(parts, sum);
    std::uint64_t all = 0;
    for (const std::uint64_t part : parts) all += part;
    return all;
  }
};

}  // namespace

constinit const Table avx512 = make_table<Avx512>();

}  // namespace holdfast::digest_kernels
