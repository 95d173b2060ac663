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
  if (is_packed(to)) {
    std::byte* out = to.data;
    for_each_run(from, [&](std::int64_t offset, std::int64_t elements) {
      const auto bytes = static_cast<std::size_t>(elements) * from.element_bytes;
      std::memcpy(out, from.data + offset, bytes);
      out += bytes;
    });
    return;
  }
  if (is_packed(from)) {
    const std::byte* in = from.data;
    for_each_run(to, [&](std::int64_t offset, std::int64_t elements) {
      const auto bytes = static_cast<std::size_t>(elements) * to.element_bytes;
      std::memcpy(to.data + offset, in, bytes);
      in += bytes;
    });
    return;
  }
  // Neither side is packed: walk row by row, the innermost dimension element by element where it has a stride of its own.
  const std::size_t last = from.sizes.size() - 1;
  const Dims row_sizes(from.sizes.begin(), from.sizes.end() - 1);
  Dims index(last, 0);
  const std::int64_t rows = volume({row_sizes.data(), row_sizes.size()});
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::byte* in = from.data;
    std::byte* out = to.data;
    for (std::size_t d = 0; d < last; ++d) {
      in += index[d] * from.strides_bytes[d];
      out += index[d] * to.strides_bytes[d];
    }
    for (std::int64_t i = 0; i < from.sizes[last]; ++i) {
      std::memcpy(out + i * to.strides_bytes[last], in + i * from.strides_bytes[last], from.element_bytes);
    }
    for (std::size_t d = last; d-- > 0;) {
      if (++index[d] < row_sizes[d]) break;
      index[d] = 0;
    }
  }
}

}  // namespace holdfast
