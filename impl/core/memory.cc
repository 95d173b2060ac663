#include "impl/core/memory.h"

#include <cstring>

#include "impl/core/block_copy.h"
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
  for_each_common_run(from, to, [](std::byte* out, const std::byte* in, std::size_t bytes) { std::memcpy(out, in, bytes); });
}

}  // namespace holdfast
