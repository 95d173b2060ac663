// Pinned host memory that a GPU copies from and to at full speed: near the GPU, in huge pages where the kernel has them, and touched before it is pinned.
#pragma once

#include <cstddef>
#include <memory>

#include "impl/backend/cuda/runtime.h"

namespace holdfast::backend::cuda {

/// The NUMA node of the host that is nearest to the GPU; -1 where the host has only one, or CUDA does not tell.
int nearest_numa_node(int device);

/// Pages of the process's own. Moved; unmapped with the object.
class Pages {
 public:
  /// At least `bytes`, zeros that are there already. On the NUMA node, unless that is -1, full, or the kernel lets the process choose none (as in some
  /// containers): then wherever it puts them. Calls no CUDA. Errors: out_of_memory.
  static Result<Pages> map(std::size_t bytes, int numa_node);
  std::byte* data() const { return memory_.get(); }
  std::size_t bytes() const { return memory_.get_deleter().bytes; }

 private:
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(std::byte* memory) const;
  };
  explicit Pages(std::unique_ptr<std::byte, Unmap> memory) : memory_(std::move(memory)) {}
  std::unique_ptr<std::byte, Unmap> memory_;
};

/// Pins pages for the site's device, which must be the current one; they are unpinned, then unmapped, when the last owner is gone: no work may use them then.
/// Errors: out_of_memory, which says how much the process may lock; io_error.
Result<std::shared_ptr<void>> pin(const Site& site, Pages pages);

}  // namespace holdfast::backend::cuda
