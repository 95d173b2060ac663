// One read or write, as the kernel takes it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::backend {

enum class IoKind : std::uint8_t { read, write };

struct IoRequest {
  IoKind kind = IoKind::read;
  int fd = -1;
  std::byte* memory = nullptr;  ///< filled by a read, only looked at by a write
  std::size_t bytes = 0;        ///< below 2^31
  std::uint64_t offset = 0;
};

}  // namespace holdfast::backend
