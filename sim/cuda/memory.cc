#include "sim/cuda/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define HOLDFAST_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOLDFAST_ASAN
#endif
#endif
#ifdef HOLDFAST_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace holdfast::sim::cuda {
namespace {

using Kind = Allocation::Kind;

constexpr int fresh_device = 0xCD, fresh_pinned = 0xEE, freed = 0xDD;

void trap(const void* memory, std::size_t bytes, bool on) {
#ifdef HOLDFAST_ASAN
  if (on) {
    __asan_poison_memory_region(memory, bytes);
  } else {
    __asan_unpoison_memory_region(memory, bytes);
  }
#else
  (void)memory;
  (void)bytes;
  (void)on;
#endif
}

void trap(const Allocation& allocation, bool on) { trap(allocation.memory.get(), allocation.bytes, on); }

std::uintptr_t address(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

std::byte* whole_pages(std::size_t bytes, std::size_t page) {
  return static_cast<std::byte*>(std::aligned_alloc(page, (bytes + page - 1) / page * page));
}

}  // namespace

std::string name_of(const Allocation& allocation) {
  const auto kind = [&] {
    switch (allocation.kind) {
      case Kind::pinned: return "pinned allocation";
      case Kind::registered: return "registered allocation";
      case Kind::mapped: return "mapping";
      case Kind::device:
      case Kind::ordered: break;
    }
    return "device allocation";
  };
  return fmt::format("{} {} of {} bytes", kind(), allocation.id, allocation.bytes);
}

Memory::~Memory() {
  for (const auto& [begin, allocation] : allocations_) {
    if (allocation.kind != Kind::registered) trap(allocation, false);
  }
  for (const auto& [begin, reservation] : reservations_) trap(reservation.memory.get(), reservation.bytes, false);
}

std::size_t Memory::used(Kind kind, int device) const {
  std::size_t bytes = 0;
  for (const auto& [begin, other] : allocations_) {
    const bool pinned = other.is_pinned();
    if (!other.freed && pinned == (kind == Kind::pinned) && (pinned || other.device == device)) bytes += other.bytes;
  }
  return bytes;
}

Allocation* Memory::allocate(std::uint64_t id, std::size_t bytes, Kind kind, int device) {
  if (const std::size_t there = used(kind, device); there > limit || bytes > limit - there) return nullptr;
  Allocation made{id, bytes, kind, device};
  made.memory.reset(whole_pages(bytes, 4096));
  if (made.memory == nullptr) return nullptr;
  const bool pinned = kind == Kind::pinned;
  std::memset(made.memory.get(), pinned ? fresh_pinned : fresh_device, bytes);
  if (!pinned) trap(made, true);
  const std::uintptr_t begin = address(made.memory.get());
  return &allocations_.insert_or_assign(begin, std::move(made)).first->second;
}

bool Memory::pin(std::uint64_t id, void* begin, std::size_t bytes, int device) {
  if (const std::size_t there = used(Kind::pinned, device); there > limit || bytes > limit - there) return false;
  Allocation made{id, bytes, Kind::registered, device};
  made.memory = {static_cast<std::byte*>(begin), [](void*) {}};
  allocations_.insert_or_assign(address(begin), std::move(made));
  return true;
}

void Memory::unpin(Allocation& allocation) { allocations_.erase(address(allocation.memory.get())); }

const Allocation* Memory::overlapping(const void* begin, std::size_t bytes) const {
  const auto after = allocations_.lower_bound(address(begin) + bytes);
  if (after == allocations_.begin()) return nullptr;
  const auto& [other, allocation] = *std::prev(after);
  return other + allocation.bytes > address(begin) ? &allocation : nullptr;
}

void Memory::quarantine(Allocation& allocation) {
  trap(allocation, false);
  std::memset(allocation.memory.get(), freed, allocation.bytes);
  trap(allocation, true);
  allocation.freed = true;
}

const Allocation* Memory::find(std::uintptr_t at) const {
  auto after = allocations_.upper_bound(at);
  if (after == allocations_.begin()) return nullptr;
  const auto& [begin, allocation] = *--after;
  return at < begin + allocation.bytes ? &allocation : nullptr;
}

Allocation* Memory::beginning_at(const void* begin) {
  const auto found = allocations_.find(address(begin));
  return found == allocations_.end() ? nullptr : &found->second;
}

void* Memory::reserve(std::uint64_t id, std::size_t bytes) {
  Reservation made{id, bytes};
  made.memory.reset(whole_pages(bytes, granularity));
  if (made.memory == nullptr) return nullptr;
  trap(made.memory.get(), bytes, true);
  void* const begin = made.memory.get();
  reservations_.insert_or_assign(address(begin), std::move(made));
  return begin;
}

bool Memory::free_reservation(void* begin, std::size_t bytes) {
  const auto found = reservations_.find(address(begin));
  if (found == reservations_.end() || found->second.bytes != bytes) return false;
  const auto first = allocations_.lower_bound(found->first), end = allocations_.lower_bound(found->first + bytes);
  for (auto at = first; at != end; ++at) {
    if (!at->second.freed) return false;
  }
  allocations_.erase(first, end);
  trap(begin, bytes, false);
  reservations_.erase(found);
  return true;
}

const std::pair<const std::uintptr_t, Memory::Reservation>* Memory::reservation_of(std::uintptr_t at) const {
  auto after = reservations_.upper_bound(at);
  if (after == reservations_.begin()) return nullptr;
  const auto& before = *--after;
  return at < before.first + before.second.bytes ? &before : nullptr;
}

Allocation* Memory::map(void* begin, std::uint64_t id, std::size_t bytes, int device) {
  const std::uintptr_t first = address(begin);
  const auto* reserved = reservation_of(first);
  if (reserved == nullptr || first % granularity != 0 || first + bytes > reserved->first + reserved->second.bytes) return nullptr;
  for (std::uintptr_t at = first; at < first + bytes; at += granularity) {
    if (const Allocation* other = find(at); other != nullptr && !other->freed) return nullptr;
  }
  allocations_.erase(allocations_.lower_bound(first), allocations_.lower_bound(first + bytes));
  Allocation made{id, bytes, Kind::mapped, device};
  made.memory = {static_cast<std::byte*>(begin), [](void*) {}};  // the reservation's
  trap(made, false);
  std::memset(begin, fresh_device, bytes);
  trap(made, true);
  return &allocations_.insert_or_assign(first, std::move(made)).first->second;
}

std::vector<Allocation*> Memory::mapped(void* begin, std::size_t bytes) {
  std::vector<Allocation*> all;
  std::uintptr_t at = address(begin);
  const std::uintptr_t end = at + bytes;
  while (at < end) {
    const auto found = allocations_.find(at);
    if (found == allocations_.end() || found->second.kind != Kind::mapped || found->second.freed) return {};
    all.push_back(&found->second);
    at += found->second.bytes;
  }
  if (at != end) return {};
  return all;
}

std::vector<std::string> Memory::wrong(const Access& access, bool enqueued) const {
  const Allocation* at = find(access.begin);
  if (at == nullptr) {
    if (reservation_of(access.begin) != nullptr) return {"touches reserved addresses where nothing is mapped"};
    if (access.on_device) return {"touches memory that is neither device nor pinned memory"};
    return {};
  }
  std::vector<std::string> all;
  const std::size_t offset = access.begin - address(at->memory.get());
  if (at->freed) all.push_back(fmt::format("uses {} after it was freed", name_of(*at)));
  if (!at->freed && enqueued && at->freeing != nullptr) all.push_back(fmt::format("uses {} after {}", name_of(*at), at->freeing));
  if (at->kind != Kind::mapped && offset + access.bytes > at->bytes)
    all.push_back(fmt::format("touches bytes [{}, {}) of {}", offset, offset + access.bytes, name_of(*at)));
  if (at->kind != Kind::mapped) return all;
  const std::uintptr_t end = access.begin + access.bytes;
  for (std::uintptr_t next = access.begin;;) {
    if (!at->accessible) all.push_back(fmt::format("touches {} before cuMemSetAccess", name_of(*at)));
    next = address(at->memory.get()) + at->bytes;
    if (next >= end) return all;
    const Allocation* following = find(next);
    if (following == nullptr || following->kind != Kind::mapped || following->freed) {
      all.push_back(fmt::format("touches {} and {} bytes after it, where nothing is mapped", name_of(*at), end - next));
      return all;
    }
    at = following;
  }
}

std::vector<const Allocation*> Memory::device_memory(const Access& access) const {
  std::vector<const Allocation*> all;
  for (std::uintptr_t at = access.begin; at < access.begin + access.bytes;) {
    const Allocation* const held = find(at);
    if (held == nullptr || held->is_pinned() || held->freed) break;
    all.push_back(held);
    at = address(held->memory.get()) + held->bytes;
  }
  return all;
}

void Memory::count(Live& live) const {
  for (const auto& [begin, allocation] : allocations_) {
    if (!allocation.freed) ++(allocation.is_pinned() ? live.pinned_allocations : live.device_allocations);
  }
}

void Memory::add_leaks(std::map<std::uint64_t, std::string>& leaks) const {
  for (const auto& [begin, allocation] : allocations_) {
    if (!allocation.freed) leaks[allocation.id] = fmt::format("leak: {}", name_of(allocation));
  }
  for (const auto& [begin, reservation] : reservations_)
    leaks[reservation.id] = fmt::format("leak: {} reserved bytes of addresses", reservation.bytes);
}

Opened::Opened(const Memory& memory, const std::vector<Access>& accesses) {
  for (const Access& access : accesses) {
    for (const Allocation* held : memory.device_memory(access)) {
      if (std::ranges::find(opened_, held) != opened_.end()) continue;
      trap(*held, false);
      opened_.push_back(held);
    }
  }
}

Opened::~Opened() {
  for (const Allocation* allocation : opened_) trap(*allocation, true);
}

}  // namespace holdfast::sim::cuda
