// Device memory as allocators with expandable segments make it: a range of addresses, with physical memory mapped into parts of it.
#pragma once

#include <cstdint>
#include <vector>

#include "impl/core/error.h"
#include "impl/core/memory.h"

namespace holdfast::testing_cuda {

/// On device 0. The driver's entry points come from the runtime, by name.
class MappedMemory {
 public:
  /// Reserves pages + 2 pages of the smallest size that the device maps, and maps each but the first and the last on its own. Errors: io_error.
  static Result<MappedMemory> make(std::size_t pages);
  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&&) = delete;
  ~MappedMemory();

  /// What is mapped: whole, in one stretch of addresses.
  ByteSpan bytes() const { return {reinterpret_cast<std::byte*>(begin_) + page_bytes_, mapped_.size() * page_bytes_}; }
  std::size_t page_bytes() const { return page_bytes_; }

 private:
  MappedMemory() = default;
  Status fill(std::size_t pages);

  unsigned long long begin_ = 0;
  std::size_t reserved_bytes_ = 0;
  std::size_t page_bytes_ = 0;
  std::vector<unsigned long long> mapped_ = {};  ///< handles, by page
};

}  // namespace holdfast::testing_cuda
