// What a device has allocated and not yet freed, so that the memory of a block is known without asking CUDA, a call each.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "impl/backend/cuda/runtime.h"
#include "impl/core/memory.h"

namespace holdfast::backend::cuda {

/// Any thread may use it. Buffers may outlive the device, so each keeps it alive.
class Allocations : public std::enable_shared_from_this<Allocations> {
 public:
  struct Found {
    std::uintptr_t begin = 0;
    MemoryKind kind = MemoryKind::host;
    bool operator==(const Found&) const = default;
  };

  /// A buffer of `bytes` over that memory, known here until its last owner is gone.
  template <typename Memory>
  port::Buffer hold(Memory memory, std::size_t bytes, MemoryKind kind) {
    struct Held {
      std::shared_ptr<Allocations> known;
      Memory memory;
      ~Held() { known->forget(memory.get()); }
    };
    auto* const begin = static_cast<std::byte*>(memory.get());
    auto held = std::make_shared<Held>(shared_from_this(), std::move(memory));
    remember(begin, bytes, kind);
    return {{begin, bytes}, std::shared_ptr<void>(std::move(held), begin), kind};
  }

  /// The allocation that holds `bytes` at `data`, or none: begin is 0.
  Found find(const std::byte* data, std::size_t bytes) const;

 private:
  struct Known {
    std::size_t bytes = 0;
    MemoryKind kind = MemoryKind::host;
  };
  void remember(const void* begin, std::size_t bytes, MemoryKind kind);
  void forget(const void* begin);

  mutable std::mutex mutex_;
  std::map<std::uintptr_t, Known> known_;
};

}  // namespace holdfast::backend::cuda
