#include "impl/backend/cuda/allocations.h"

#include <iterator>

namespace holdfast::backend::cuda {

Allocations::Found Allocations::find(const std::byte* data, std::size_t bytes) const {
  const auto at = reinterpret_cast<std::uintptr_t>(data);
  const std::lock_guard lock(mutex_);
  const auto after = known_.upper_bound(at);
  if (after == known_.begin()) return {};
  const auto& [begin, known] = *std::prev(after);
  const bool inside = at - begin <= known.bytes && bytes <= known.bytes - (at - begin);
  return inside ? Found{begin, known.kind} : Found{};
}

void Allocations::remember(const void* begin, std::size_t bytes, MemoryKind kind) {
  const std::lock_guard lock(mutex_);
  known_[reinterpret_cast<std::uintptr_t>(begin)] = {bytes, kind};
}

void Allocations::forget(const void* begin) {
  const std::lock_guard lock(mutex_);
  known_.erase(reinterpret_cast<std::uintptr_t>(begin));
}

}  // namespace holdfast::backend::cuda
