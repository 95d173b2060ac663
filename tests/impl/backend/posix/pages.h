// Memory on page boundaries, and what the page cache holds of a file.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "impl/core/bytes.h"
#include "tests/impl/core/random.h"

namespace holdfast::test {

/// Bytes on a page boundary.
struct Pages {
  explicit Pages(std::size_t size)
      : owner(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096), std::free), bytes(static_cast<std::byte*>(owner.get()), size) {}
  std::shared_ptr<void> owner;
  ByteSpan bytes;
};

inline Pages noise(std::size_t size, std::uint64_t seed) {
  Pages pages(size);
  std::ranges::copy(testing::Random(seed).bytes(size), pages.bytes.begin());
  return pages;
}

/// Pages of a file that are in the page cache.
inline std::size_t cached_pages(const std::string& path, std::size_t bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  std::vector<unsigned char> in_memory((bytes + 4095) / 4096);
  EXPECT_EQ(::mincore(mapped, bytes, in_memory.data()), 0);
  ::munmap(mapped, bytes);
  ::close(fd);
  return static_cast<std::size_t>(std::ranges::count_if(in_memory, [](unsigned char page) { return (page & 1) != 0; }));
}

inline void drop_from_cache(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  EXPECT_EQ(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  ::close(fd);
}

}  // namespace holdfast::test
