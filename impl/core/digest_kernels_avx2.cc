// Compiled with -mavx2.
#include <immintrin.h>

#include "impl/core/digest_rows.h"

namespace holdfast::digest_kernels {
namespace {

/// There is no 64-bit multiplication: units have at most 32 bits, so unit * key = unit * low(key) + (unit * high(key) << 32), and the shift
/// waits until the end.
struct Avx2 {
  static constexpr std::uint64_t width = 4;
  struct Sum {
    __m256i low, high;
  };
  struct Key {
    __m256i low, high;
  };
  static Sum zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static Key load_key(const std::uint64_t* key) {
    const __m256i whole = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(key));
    return {whole, _mm256_srli_epi64(whole, 32)};
  }
  template <typename Word>
  static __m256i load_units(const std::byte* data) {
    if constexpr (sizeof(Word) == 4) return _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data)));
    if constexpr (sizeof(Word) == 2) return _mm256_cvtepu16_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(data)));
    return _mm256_cvtepu8_epi64(_mm_loadu_si32(data));
  }
  static void add_product(Sum& sum, __m256i units, const Key& key) {
    sum.low = _mm256_add_epi64(sum.low, _mm256_mul_epu32(units, key.low));
    sum.high = _mm256_add_epi64(sum.high, _mm256_mul_epu32(units, key.high));
  }
  static std::uint64_t total(const Sum& sum) {
    alignas(32) std::uint64_t parts[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(parts), _mm256_add_epi64(sum.low, _mm256_slli_epi64(sum.high, 32)));
    return parts[0] + parts[1] + parts[2] + parts[3];
  }
};

}  // namespace

constinit const Table avx2 = make_table<Avx2>();

}  // namespace holdfast::digest_kernels
