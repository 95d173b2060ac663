#include "impl/core/digest.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "impl/core/check.h"
#include "impl/core/digest_kernels.h"

namespace holdfast {
namespace {

using digest_kernels::lanes;
using digest_kernels::period;

constexpr std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

constexpr std::uint64_t key(std::uint64_t family, std::uint64_t lane, std::uint64_t index) {
  return splitmix64(splitmix64(family * 2 + lane) ^ index) | 1;
}

constexpr digest_kernels::KeyTable make_keys() {
  digest_kernels::KeyTable table{};
  for (unsigned lane = 0; lane < lanes; ++lane) {
    for (std::uint64_t i = 0; i < period; ++i) {
      table.a[lane][i] = key(0, lane, i);
      table.prefix[lane][i + 1] = table.prefix[lane][i] + table.a[lane][i];
    }
  }
  return table;
}

/// The widest instructions of this processor. All tables compute the same values.
const digest_kernels::Table& kernels() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return digest_kernels::avx512;
  if (__builtin_cpu_supports("avx2")) return digest_kernels::avx2;
#endif
  return digest_kernels::portable;
}

/// Adds a row's sums, to which the ones that the formula adds to each unit are still missing, times the row's B keys.
void add_sums(TensorDigest& sum, const std::uint64_t (&sums)[lanes], std::uint64_t index, std::uint64_t count) {
  const std::uint64_t first = index % period;
  for (unsigned lane = 0; lane < lanes; ++lane) {
    const std::uint64_t ones = digest_kernels::keys.prefix[lane][first + count] - digest_kernels::keys.prefix[lane][first];
    sum.lanes[lane] += (sums[lane] + ones) * digest_key_b(lane, index / period);
  }
}

/// Adds `count` packed units of 1, 2 or 4 bytes; the first has number `index`.
void add_packed(TensorDigest& sum, const std::byte* data, std::uint32_t unit_bytes, std::uint64_t index, std::uint64_t count) {
  const digest_kernels::Table& table = kernels();
  const int log = std::countr_zero(unit_bytes);
  while (count != 0) {
    std::uint64_t sums[digest_kernels::rows_at_once][lanes];
    const std::uint64_t first = index % period;
    int rows = 1;
    std::uint64_t units = std::min(count, period - first);
    if (first == 0 && count >= digest_kernels::rows_at_once * period) {
      rows = digest_kernels::rows_at_once;
      table.sum_rows[log](data, 0, period, sums);
    } else {
      table.sum_row[log](data, first, units, sums);
    }
    for (int row = 0; row < rows; ++row) {
      add_sums(sum, sums[row], index, units);
      index += units;
    }
    data += static_cast<std::uint64_t>(rows) * units * unit_bytes;
    count -= static_cast<std::uint64_t>(rows) * units;
  }
}

/// Copies `count` elements that lie `stride` bytes apart one behind the other.
template <std::size_t element_bytes>
void pack(std::byte* to, const std::byte* from, std::int64_t stride, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i)
    std::memcpy(to + i * element_bytes, from + static_cast<std::int64_t>(i) * stride, element_bytes);
}

/// Adds a run of elements `stride` bytes apart; the first has number `index`. Elements of 8 and 16 bytes are units of 4:
/// FORMAT.md says why.
void add_run(TensorDigest& sum, const std::byte* data, std::int64_t stride, std::uint64_t index, std::uint64_t count,
             std::uint32_t element_bytes) {
  const std::uint32_t unit_bytes = std::min(element_bytes, 4u);
  const std::uint64_t units = element_bytes / unit_bytes;
  if (stride == element_bytes || count == 1) return add_packed(sum, data, unit_bytes, index * units, count * units);
  constexpr std::uint64_t together = 512;
  std::byte packed[together * 16];
  for (std::uint64_t done = 0; done < count; done += together) {
    const std::uint64_t here = std::min(together, count - done);
    const std::byte* from = data + static_cast<std::int64_t>(done) * stride;
    switch (element_bytes) {
      case 1: pack<1>(packed, from, stride, here); break;
      case 2: pack<2>(packed, from, stride, here); break;
      case 4: pack<4>(packed, from, stride, here); break;
      case 8: pack<8>(packed, from, stride, here); break;
      default: pack<16>(packed, from, stride, here); break;
    }
    add_packed(sum, packed, unit_bytes, (index + done) * units, here * units);
  }
}

/// Innermost dimensions of a box that are one run: equally spaced in memory and consecutive in the tensor.
struct Run {
  std::size_t outer;  ///< dimensions left outside
  std::int64_t elements;
  std::int64_t stride;  ///< bytes
};

Run innermost_run(const StridedBlock& block, const Box& box, const Dims& shape) {
  Run run{shape.size(), 1, block.element_bytes};
  for (std::int64_t whole_elements = 1; run.outer != 0; --run.outer) {
    const std::size_t d = run.outer - 1;
    if (box.size[d] != 1) {
      if (run.elements != whole_elements) break;
      if (run.elements == 1) {
        run.stride = block.strides_bytes[d];
      } else if (block.strides_bytes[d] != run.elements * run.stride) {
        break;
      }
    }
    run.elements *= box.size[d];
    whole_elements *= shape[d];
  }
  return run;
}

}  // namespace

constinit const digest_kernels::KeyTable digest_kernels::keys = make_keys();

BlockDigest block_digest(ByteView bytes) {
  BlockDigest digest;
  kernels().xxh3_128(bytes.data(), bytes.size(), &digest.low, &digest.high);
  return digest;
}

static_assert(sizeof(BlockDigester) == digest_kernels::xxh3_state_bytes);

BlockDigester::BlockDigester() { kernels().xxh3_begin(state_); }

void BlockDigester::update(ByteView bytes) { kernels().xxh3_update(state_, bytes.data(), bytes.size()); }

BlockDigest BlockDigester::finish() {
  BlockDigest digest;
  kernels().xxh3_128_end(state_, &digest.low, &digest.high);
  kernels().xxh3_begin(state_);
  return digest;
}

std::string to_string(const BlockDigest& digest) {
  // Not by fmt: the header of a segment has thousands.
  std::string text(32, '0');
  for (std::size_t i = 0; i < 32; ++i) text[i] = "0123456789abcdef"[(i < 16 ? digest.high : digest.low) >> (4 * (15 - i % 16)) & 15];
  return text;
}

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

std::uint64_t digest_key_a(unsigned lane, std::uint64_t index) { return digest_kernels::keys.a[lane][index % period]; }
std::uint64_t digest_key_b(unsigned lane, std::uint64_t index) { return key(1, lane, index); }

TensorDigest tensor_digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype) {
  CHECK(block.sizes == box.size && in_bounds(box, shape), "digest of box {} in a tensor of shape {}", to_string(box),
        to_string({shape.data(), shape.size()}));
  CHECK(block.kind == MemoryKind::host, "tensor_digest reads host memory");
  CHECK(block.element_bytes == size_bytes(dtype), "elements of {} bytes for {}", block.element_bytes, to_string(dtype));
  TensorDigest sum;
  if (box.empty()) return sum;
  const Run run = innermost_run(block, box, shape);
  Dims steps(shape.size(), 1);  // elements of the tensor from an index to the next, a dimension
  for (std::size_t d = shape.size(); d-- > 1;) steps[d - 1] = steps[d] * shape[d];
  std::int64_t element = 0;
  for (std::size_t d = 0; d < shape.size(); ++d) element += box.offset[d] * steps[d];
  const std::byte* data = block.data;
  Dims index(run.outer, 0);
  for (;;) {
    add_run(sum, data, run.stride, static_cast<std::uint64_t>(element), static_cast<std::uint64_t>(run.elements), block.element_bytes);
    std::size_t d = run.outer;
    for (;; index[d] = 0) {
      if (d == 0) return sum;
      --d;
      data += block.strides_bytes[d];
      element += steps[d];
      if (++index[d] < box.size[d]) break;
      data -= block.strides_bytes[d] * box.size[d];
      element -= steps[d] * box.size[d];
    }
  }
}

}  // namespace holdfast
