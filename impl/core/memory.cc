#include "impl/core/memory.h"

#include <cstring>

#include "impl/core/check.h"

namespace holdfast {

StridedBlock packed_block(std::byte* data, const Dims& sizes, std::uint32_t element_bytes, MemoryKind kind) {
  StridedBlock block{data, sizes, Dims(sizes.size(), 0), element_bytes, kind};
  std::int64_t stride = element_bytes;
  for (std::size_t d = sizes.size(); d-- > 0;) {
    block.strides_bytes[d] = stride;
    stride *= sizes[d];
  }
  return block;
}

bool is_packed(const StridedBlock& block) {
  std::int64_t stride = block.element_bytes;
  for (std::size_t d = block.sizes.size(); d-- > 0;) {
    if (block.sizes[d] != 1 && block.strides_bytes[d] != stride) return false;
    stride *= block.sizes[d];
  }
  return true;
}

StridedBlock narrow(const StridedBlock& block, const Dims& offset, const Dims& sizes) {
  CHECK(offset.size() == block.sizes.size() && sizes.size() == block.sizes.size(), "narrow to other dimensions");
  StridedBlock part = block;
  part.sizes = sizes;
  std::int64_t bytes = 0;
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    CHECK(offset[d] >= 0 && sizes[d] >= 0 && offset[d] + sizes[d] <= block.sizes[d], "narrow dimension {}: {}+{} of {}", d, offset[d],
          sizes[d], block.sizes[d]);
    bytes += offset[d] * block.strides_bytes[d];
  }
  if (part.elements() != 0) part.data += bytes;
  return part;
}

void copy_block(const StridedBlock& from, const StridedBlock& to) {
  CHECK(from.sizes == to.sizes && from.element_bytes == to.element_bytes, "copy between blocks of different sizes");
  if (from.elements() == 0) return;
  // The innermost dimensions that lie without gaps on both sides move at once.
  std::size_t outer = from.sizes.size();
  std::int64_t run_bytes = from.element_bytes;
  for (; outer > 0; --outer) {
    const std::size_t d = outer - 1;
    if (from.sizes[d] != 1 && (from.strides_bytes[d] != run_bytes || to.strides_bytes[d] != run_bytes)) break;
    run_bytes *= from.sizes[d];
  }
  const std::byte* in = from.data;
  std::byte* out = to.data;
  Dims index(outer, 0);
  for (;;) {
    std::memcpy(out, in, static_cast<std::size_t>(run_bytes));
    std::size_t d = outer;
    for (;; index[d] = 0) {
      if (d == 0) return;
      --d;
      in += from.strides_bytes[d];
      out += to.strides_bytes[d];
      if (++index[d] < from.sizes[d]) break;
      in -= from.strides_bytes[d] * from.sizes[d];
      out -= to.strides_bytes[d] * from.sizes[d];
    }
  }
}

}  // namespace holdfast
