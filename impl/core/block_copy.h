// The walk over two blocks of equal sizes that every copy between them takes. Private to impl/core.
#pragma once

#include "impl/core/check.h"
#include "impl/core/memory.h"

namespace holdfast {

/// Calls move(out, in, bytes) for each run that lies without gaps on both sides: the innermost dimensions move at once.
template <typename Move>
void for_each_common_run(const StridedBlock& from, const StridedBlock& to, Move&& move) {
  CHECK(from.sizes == to.sizes && from.element_bytes == to.element_bytes, "copy between blocks of different sizes");
  if (from.elements() == 0) return;
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
    move(out, in, static_cast<std::size_t>(run_bytes));
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
