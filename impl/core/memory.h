// Views of tensor memory, on the host or on a device. They own nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "impl/core/box.h"
#include "impl/core/bytes.h"
#include "impl/core/dtype.h"

namespace holdfast {

/// Where bytes lie: where the CPU reads them, or where only port::Device does.
enum class MemoryKind : std::uint8_t { host, device };

/// A box of elements in memory: element (i0, i1, ...) lies at data + sum of i_d * strides_bytes[d].
struct StridedBlock {
  std::byte* data = nullptr;
  Dims sizes;          ///< elements a dimension
  Dims strides_bytes;  ///< bytes from an element to the next along each dimension; may not overlap
  std::uint32_t element_bytes = 1;
  MemoryKind kind = MemoryKind::host;

  std::int64_t elements() const { return volume({sizes.data(), sizes.size()}); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * element_bytes; }
};

/// Row-major block without gaps: sizes in elements, product of them * element_bytes bytes at `data`.
StridedBlock packed_block(std::byte* data, const Dims& sizes, std::uint32_t element_bytes, MemoryKind kind = MemoryKind::host);
/// Whether packed_block() of the same sizes is the same memory.
bool is_packed(const StridedBlock& block);
/// The sub-block of `sizes` elements at `offset` (relative to the block). Requires: it lies inside.
StridedBlock narrow(const StridedBlock& block, const Dims& offset, const Dims& sizes);
/// Copies host memory element for element, on the calling thread. Requires: equal sizes and element_bytes; regions that do not overlap.
void copy_block(const StridedBlock& from, const StridedBlock& to);

/// Calls run(byte offset, elements) for each innermost run, in row-major order; runs are merged over dimensions without gaps.
template <typename Run>
void for_each_run(const StridedBlock& block, Run&& run) {
  const std::int64_t elements = block.elements();
  if (elements == 0) return;
  std::size_t outer = block.sizes.size();
  std::int64_t run_elements = 1;
  while (outer > 0 && (block.sizes[outer - 1] == 1 || block.strides_bytes[outer - 1] == run_elements * block.element_bytes)) {
    run_elements *= block.sizes[--outer];
  }
  Dims index(outer, 0);
  std::int64_t offset = 0;
  for (std::int64_t done = 0;;) {
    run(offset, run_elements);
    done += run_elements;
    if (done == elements) return;
    for (std::size_t d = outer; d-- > 0;) {
      offset += block.strides_bytes[d];
      if (++index[d] < block.sizes[d]) break;
      offset -= block.strides_bytes[d] * block.sizes[d];
      index[d] = 0;
    }
  }
}

}  // namespace holdfast
