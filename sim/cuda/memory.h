// The memory of the simulated runtime: allocations of every kind, live or freed, by address; reserved ranges of addresses and what is mapped there.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sim/cuda/objects.h"
#include "sim/cuda/runtime.h"

namespace holdfast::sim::cuda {

/// What a piece of memory is, in findings.
std::string name_of(const Allocation& allocation);

class Memory {
 public:
  Memory() = default;
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// Fresh memory, poisoned. Null where there is no room.
  Allocation* allocate(std::uint64_t id, std::size_t bytes, Allocation::Kind kind, int device);
  /// Memory of the program's own: left as it is. False where there is no room for pinned memory.
  bool pin(std::uint64_t id, void* begin, std::size_t bytes, int device);
  /// Forgets it: the program may unmap it now.
  void unpin(Allocation& allocation);
  /// Freed, but kept, so that a late use is seen.
  void quarantine(Allocation& allocation);
  /// The allocation, freed or not, that holds the address, or begins there; or null.
  const Allocation* find(std::uintptr_t address) const;
  Allocation* beginning_at(const void* address);
  const Allocation* overlapping(const void* begin, std::size_t bytes) const;
  /// Host memory that CUDA knows nothing of.
  bool is_pageable(std::uintptr_t address) const { return find(address) == nullptr && reservation_of(address) == nullptr; }

  // Virtual memory: addresses, physical memory, and the one behind the other, in multiples of the granularity.
  static constexpr std::size_t granularity = std::size_t{64} << 10;
  void* reserve(std::uint64_t id, std::size_t bytes);
  bool free_reservation(void* begin, std::size_t bytes);
  /// Null where `begin` is no free place of a reservation.
  Allocation* map(void* begin, std::uint64_t id, std::size_t bytes, int device);
  /// Those that lie in the range; empty unless they are all of it.
  std::vector<Allocation*> mapped(void* begin, std::size_t bytes);

  /// What is wrong with an access of work that is enqueued now, or runs, which was enqueued earlier: parts of a sentence about it.
  std::vector<std::string> wrong(const Access& access, bool enqueued) const;
  /// Memory behind an access that lies in device memory and is live.
  std::vector<const Allocation*> device_memory(const Access& access) const;

  void count(Live& live) const;
  void add_leaks(std::map<std::uint64_t, std::string>& leaks) const;  ///< by id, so that addresses do not decide the order

  std::size_t limit = ~std::size_t{0};  ///< of a device, and of pinned memory

 private:
  struct Reservation {
    std::uint64_t id = 0;
    std::size_t bytes = 0;
    std::unique_ptr<std::byte, void (*)(void*)> memory{nullptr, std::free};
  };
  const std::pair<const std::uintptr_t, Reservation>* reservation_of(std::uintptr_t address) const;
  std::size_t used(Allocation::Kind kind, int device) const;

  std::map<std::uintptr_t, Allocation> allocations_;
  std::map<std::uintptr_t, Reservation> reservations_;
};

/// Lets operations touch memory that is otherwise a trap under ASan.
class Opened {
 public:
  Opened(const Memory& memory, const std::vector<Access>& accesses);
  ~Opened();
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  std::vector<const Allocation*> opened_;
};

}  // namespace holdfast::sim::cuda
