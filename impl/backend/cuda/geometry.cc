#include "impl/backend/cuda/geometry.h"

#include <algorithm>
#include <bit>

#include "impl/core/check.h"

namespace holdfast::backend::cuda {
namespace {

/// Drops dimensions of one unit and joins neighbours that step through memory and through numbers as one dimension would.
Dimensions joined(std::span<const Dimension> dimensions) {
  Dimensions result;
  for (const Dimension& inner : dimensions) {
    if (inner.size == 1) continue;
    if (!result.empty() && result.back().stride_bytes == inner.size * inner.stride_bytes &&
        result.back().index_stride == inner.size * inner.index_stride) {
      result.back() = {result.back().size * inner.size, inner.stride_bytes, inner.index_stride};
    } else {
      result.push_back(inner);
    }
  }
  return result;
}

void append_slabs(std::span<const Dimension> region, std::int64_t offset_bytes, std::int64_t index, std::int64_t units_max,
                  std::vector<Slab>& result) {
  if (units(region) <= units_max) {
    result.push_back({{region.begin(), region.end()}, offset_bytes, index});
    return;
  }
  const Dimension outer = region.front();
  const std::span<const Dimension> inner = region.subspan(1);
  if (units(inner) > units_max) {
    for (std::int64_t i = 0; i < outer.size; ++i) {
      append_slabs(inner, offset_bytes + i * outer.stride_bytes, index + i * outer.index_stride, units_max, result);
    }
    return;
  }
  const std::int64_t step = units_max / units(inner);
  for (std::int64_t i = 0; i < outer.size; i += step) {
    Slab slab{{region.begin(), region.end()}, offset_bytes + i * outer.stride_bytes, index + i * outer.index_stride};
    slab.dimensions.front().size = std::min(step, outer.size - i);
    slab.dimensions = joined(slab.dimensions);
    result.push_back(std::move(slab));
  }
}

}  // namespace

std::int64_t units(std::span<const Dimension> dimensions) {
  std::int64_t product = 1;
  for (const Dimension& dimension : dimensions) product *= dimension.size;
  return product;
}

Dimensions byte_dimensions(const StridedBlock& block) {
  Dimensions dimensions{{block.element_bytes, 1, 1}};
  std::int64_t packed = block.element_bytes;
  for (std::size_t d = block.sizes.size(); d-- > 0;) {
    dimensions.push_back({block.sizes[d], block.strides_bytes[d], packed});
    packed *= block.sizes[d];
  }
  std::reverse(dimensions.begin(), dimensions.end());
  return joined(dimensions);
}

std::uint32_t unit_bytes(DType dtype) { return std::min(size_bytes(dtype), 4u); }

Dimensions unit_dimensions(const StridedBlock& block, const Dims& shape, DType dtype) {
  const std::int64_t units_per_element = size_bytes(dtype) / unit_bytes(dtype);
  Dimensions dimensions{{units_per_element, unit_bytes(dtype), 1}};
  std::int64_t index_stride = units_per_element;
  for (std::size_t d = shape.size(); d-- > 0;) {
    dimensions.push_back({block.sizes[d], block.strides_bytes[d], index_stride});
    index_stride *= shape[d];
  }
  std::reverse(dimensions.begin(), dimensions.end());
  return joined(dimensions);
}

std::uint64_t first_unit(const Box& box, const Dims& shape, DType dtype) {
  std::int64_t element = 0;
  for (std::size_t d = 0; d < shape.size(); ++d) element = element * shape[d] + box.offset[d];
  return static_cast<std::uint64_t>(element) * (size_bytes(dtype) / unit_bytes(dtype));
}

std::vector<Slab> slabs(Dimensions region, std::int64_t units_max) {
  std::vector<Slab> result;
  append_slabs(region, 0, 0, units_max, result);
  return result;
}

std::uint32_t word_bytes(std::span<const Dimension> bytes, const void* address, const void* packed) {
  std::uint64_t all = reinterpret_cast<std::uintptr_t>(address) | reinterpret_cast<std::uintptr_t>(packed) | 16;
  bool run = false;
  for (const Dimension& dimension : bytes) {
    run = dimension.stride_bytes == 1;
    all |= static_cast<std::uint64_t>(run ? dimension.size : dimension.stride_bytes);
  }
  return run ? 1u << std::countr_zero(all) : 1;
}

Dimensions in_words(Dimensions bytes, std::uint32_t word_bytes) {
  if (word_bytes == 1) return bytes;
  bytes.back() = {bytes.back().size / word_bytes, word_bytes, word_bytes};
  if (bytes.back().size == 1) bytes.pop_back();
  return bytes;
}

Divisor make_divisor(std::uint32_t divisor) {
  CHECK(divisor >= 1 && divisor < 1u << 31, "divide by {}", divisor);
  const auto shift = static_cast<std::uint32_t>(std::bit_width(divisor - 1));  // 2^shift is the first power of two not below the divisor
  const std::uint64_t multiplier = (((std::uint64_t{1} << shift) - divisor) << 32) / divisor + 1;
  return {divisor, static_cast<std::uint32_t>(multiplier), shift};
}

}  // namespace holdfast::backend::cuda
