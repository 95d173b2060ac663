#include "impl/core/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstring>

#include "impl/core/check.h"

namespace holdfast {
namespace {

constexpr std::uint64_t period = 4096;  // elements that share one B key
constexpr unsigned lanes = 2;

constexpr std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

constexpr std::uint64_t key(std::uint64_t family, std::uint64_t lane, std::uint64_t index) {
  return splitmix64(splitmix64(family * 2 + lane) ^ index) | 1;
}

struct KeyTable {
  std::array<std::array<std::uint64_t, period>, lanes> a;
};

constexpr KeyTable make_keys() {
  KeyTable table{};
  for (unsigned lane = 0; lane < lanes; ++lane) {
    for (std::uint64_t i = 0; i < period; ++i) table.a[lane][i] = key(0, lane, i);
  }
  return table;
}

constinit const KeyTable keys = make_keys();

/// Adds `count` units of type Word that lie `stride` bytes apart; the first has number `index`. One multiply-add a unit and lane;
/// B is multiplied in once a period.
template <typename Word>
void add_units(TensorDigest& sum, const std::byte* data, std::int64_t stride, std::uint64_t index, std::uint64_t count) {
  while (count != 0) {
    const std::uint64_t first = index % period;
    const std::uint64_t here = std::min(count, period - first);
    std::uint64_t partial[lanes] = {0, 0};
    for (std::uint64_t i = 0; i < here; ++i) {
      Word word;
      std::memcpy(&word, data + static_cast<std::int64_t>(i) * stride, sizeof(Word));
      const std::uint64_t value = std::uint64_t{word} + 1;
      partial[0] += value * keys.a[0][first + i];
      partial[1] += value * keys.a[1][first + i];
    }
    for (unsigned lane = 0; lane < lanes; ++lane) sum.lanes[lane] += partial[lane] * digest_key_b(lane, index / period);
    data += static_cast<std::int64_t>(here) * stride;
    index += here;
    count -= here;
  }
}

/// One row of `count` elements; elements of 8 and 16 bytes are taken as units of 4 (FORMAT.md says why).
void add_row(TensorDigest& sum, const std::byte* data, std::int64_t stride, std::uint64_t index, std::uint64_t count, std::uint32_t element_bytes) {
  switch (element_bytes) {
    case 1: return add_units<std::uint8_t>(sum, data, stride, index, count);
    case 2: return add_units<std::uint16_t>(sum, data, stride, index, count);
    case 4: return add_units<std::uint32_t>(sum, data, stride, index, count);
    default: break;
  }
  const std::uint64_t units = element_bytes / 4;
  if (stride == element_bytes) return add_units<std::uint32_t>(sum, data, 4, index * units, count * units);
  for (std::uint64_t i = 0; i < count; ++i) {
    add_units<std::uint32_t>(sum, data + static_cast<std::int64_t>(i) * stride, 4, (index + i) * units, units);
  }
}

}  // namespace

BlockDigest block_digest(ByteView bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

std::string to_string(const BlockDigest& digest) { return fmt::format("{:016x}{:016x}", digest.high, digest.low); }

Result<BlockDigest> block_digest_from_string(std::string_view hex) {
  BlockDigest digest;
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  if (hex.size() != 32) return fail(ErrorCode::corrupt, "digest \"{}\": {} characters, expected 32", hex, hex.size());
  for (std::size_t i = 0; i < 32; ++i) {
    const int value = digit(hex[i]);
    if (value < 0) return fail(ErrorCode::corrupt, "digest \"{}\": character {} is no lower-case hex digit", hex, i);
    std::uint64_t& half = i < 16 ? digest.high : digest.low;
    half = half << 4 | static_cast<std::uint64_t>(value);
  }
  return digest;
}

std::string to_string(const TensorDigest& digest) { return fmt::format("{:016x}:{:016x}", digest.lanes[0], digest.lanes[1]); }

std::uint64_t digest_key_a(unsigned lane, std::uint64_t index) { return key(0, lane, index % period); }
std::uint64_t digest_key_b(unsigned lane, std::uint64_t index) { return key(1, lane, index); }

TensorDigest tensor_digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype) {
  CHECK(block.sizes == box.size && in_bounds(box, shape), "digest of box {} in a tensor of shape {}", to_string(box),
        to_string({shape.data(), shape.size()}));
  CHECK(block.kind == MemoryKind::host, "tensor_digest reads host memory");
  TensorDigest sum;
  if (box.empty()) return sum;
  const std::uint32_t element_bytes = size_bytes(dtype);
  if (shape.empty()) {
    add_row(sum, block.data, element_bytes, 0, 1, element_bytes);
    return sum;
  }
  const std::size_t last = shape.size() - 1;
  Dims index(last, 0);
  for (;;) {
    std::int64_t row = 0;
    const std::byte* data = block.data;
    for (std::size_t d = 0; d < last; ++d) {
      row = row * shape[d] + box.offset[d] + index[d];
      data += index[d] * block.strides_bytes[d];
    }
    add_row(sum, data, block.strides_bytes[last], static_cast<std::uint64_t>(row * shape[last] + box.offset[last]),
            static_cast<std::uint64_t>(box.size[last]), element_bytes);
    std::size_t d = last;
    while (d-- > 0) {
      if (++index[d] < box.size[d]) break;
      index[d] = 0;
    }
    if (d == static_cast<std::size_t>(-1)) return sum;
  }
}

}  // namespace holdfast
