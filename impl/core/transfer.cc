#include "impl/core/transfer.h"

#include <cstring>

#include "impl/core/block_copy.h"

#ifdef __x86_64__
#include <emmintrin.h>
#endif

namespace holdfast {
namespace {

#ifdef __x86_64__
constexpr std::size_t line_bytes = 64;
constexpr std::size_t long_bytes = 4096;  // a page; below, lines that are written in part weigh more than what is gained

/// Requires: bytes > line_bytes.
void stream_bytes(std::byte* out, const std::byte* in, std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::memset(out, 0xDB, bytes);  // sanitizers see this, and not the stores below
#endif
  const std::size_t head = (line_bytes - reinterpret_cast<std::uintptr_t>(out) % line_bytes) % line_bytes;
  std::memcpy(out, in, head);
  std::size_t at = head;
  for (; at + line_bytes <= bytes; at += line_bytes) {
    const auto* const from = reinterpret_cast<const __m128i*>(in + at);
    auto* const to = reinterpret_cast<__m128i*>(out + at);
    const __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1), c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
    _mm_stream_si128(to, a);
    _mm_stream_si128(to + 1, b);
    _mm_stream_si128(to + 2, c);
    _mm_stream_si128(to + 3, d);
  }
  std::memcpy(out + at, in + at, bytes - at);
}
#endif

}  // namespace

void copy_past_cache(const StridedBlock& source, const StridedBlock& destination) {
#ifdef __x86_64__
  for_each_common_run(source, destination, [](std::byte* out, const std::byte* in, std::size_t bytes) {
    bytes < long_bytes ? static_cast<void>(std::memcpy(out, in, bytes)) : stream_bytes(out, in, bytes);
  });
  _mm_sfence();  // who is told that the copy is done sees all of it
#else
  copy_block(source, destination);
#endif
}

// Nothing is on neither side: an empty block of device memory may come here, too.

void pack_and_digest(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, ByteSpan destination,
                     TensorDigest* digest) {
  if (!destination.empty()) {
    const StridedBlock packed = packed_block(destination.data(), source.sizes, source.element_bytes);
    is_packed(source) ? copy_past_cache(source, packed) : copy_block(source, packed);
  }
  if (digest) *digest = source.bytes() == 0 ? TensorDigest{} : tensor_digest(source, box, shape, dtype);
}

void copy_and_digest(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, const StridedBlock& destination,
                     TensorDigest* digest) {
  if (!digest) return copy_past_cache(source, destination);
  copy_block(source, destination);
  *digest = destination.bytes() == 0 ? TensorDigest{} : tensor_digest(destination, box, shape, dtype);
}

}  // namespace holdfast
