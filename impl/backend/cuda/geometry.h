// Turns a strided block into the fewest, largest dimensions. Pure.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <span>
#include <vector>

#include "impl/backend/cuda/kernels.cuh"
#include "impl/core/box.h"
#include "impl/core/dtype.h"
#include "impl/core/memory.h"

namespace holdfast::backend::cuda {

/// `size` units that lie stride_bytes apart and whose numbers in the tensor are index_stride apart.
struct Dimension {
  std::int64_t size = 1;
  std::int64_t stride_bytes = 0;
  std::int64_t index_stride = 0;
  bool operator==(const Dimension&) const = default;
};
/// Outermost first; none of size 1; neighbours that form one dimension are one.
class Dimensions : public boost::container::small_vector<Dimension, 4> {
 public:
  using small_vector::small_vector;
  operator std::span<const Dimension>() const { return {data(), size()}; }
};

std::int64_t units(std::span<const Dimension> dimensions);

/// The block byte by byte; the last dimension has stride 1 unless the block is one byte or scattered single bytes. index_stride is the
/// number of the byte in the packed block.
Dimensions byte_dimensions(const StridedBlock& block);
/// The block in digest units (FORMAT.md): elements of 1, 2 or 4 bytes, and the 4-byte parts of larger ones.
Dimensions unit_dimensions(const StridedBlock& block, const Dims& shape, DType dtype);
/// The number of the first unit of `box`.
std::uint64_t first_unit(const Box& box, const Dims& shape, DType dtype);
std::uint32_t unit_bytes(DType dtype);

/// A part of a region: at most `units_max` units.
struct Slab {
  Dimensions dimensions;
  std::int64_t offset_bytes = 0;  ///< of its first unit in memory, from the region's
  std::int64_t index = 0;         ///< of its first unit, from the region's
};
/// The slabs of a region, in order; together they are the region. units_max is below 2^31.
std::vector<Slab> slabs(Dimensions region, std::int64_t units_max);

/// The widest of 16, 8, 4, 2, 1 bytes in which the region at `address`, dimensioned in bytes, can be moved from or to `packed`.
std::uint32_t word_bytes(std::span<const Dimension> bytes, const void* address, const void* packed);
/// The region, dimensioned in bytes, in words.
Dimensions in_words(Dimensions bytes, std::uint32_t word_bytes);

Divisor make_divisor(std::uint32_t divisor);  ///< 1 <= divisor < 2^31

}  // namespace holdfast::backend::cuda
