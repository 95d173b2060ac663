// Memory of batches under way: a table for the kernels, and the lanes of digests, in device memory, with a pinned image of both.
#pragma once

#include <vector>

#include "impl/backend/cuda/runtime.h"

namespace holdfast::backend::cuda {

/// A batch's; empty: none.
struct Scratch {
  std::size_t page = 0;
  std::size_t bytes = 0;
  std::byte* memory = nullptr;  ///< on the device
  std::byte* image = nullptr;   ///< pinned
};

/// Pages that batches share, each from the front; a page whose batches have all ended begins anew. Pages stay: cudaFree would wait for the device.
class ScratchPages {
 public:
  /// Aligned to 256. Errors: out_of_memory, io_error.
  Result<Scratch> take(const Site& site, std::size_t bytes);
  /// The batch has ended.
  void give_back(const Scratch& scratch);

 private:
  struct Page {
    DeviceMemory memory;
    PinnedMemory image;
    std::size_t bytes = 0;
    std::size_t used = 0;
    std::size_t batches = 0;
  };
  std::vector<Page> pages_;
};

}  // namespace holdfast::backend::cuda
