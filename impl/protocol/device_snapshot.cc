#include "impl/protocol/device_snapshot.h"

#include <algorithm>

#include "impl/core/mark.h"
#include "impl/protocol/staging.h"
#include "impl/protocol/staging_pool.h"

namespace holdfast::protocol {
namespace {

constexpr std::uint64_t alignment = 256;  // as an allocation of its own would lie
constexpr std::uint64_t allocations = 4;  // about: memory comes back by quarters, but each cudaFree waits for what runs on the device

/// Where a copy lies: in which allocation, and where in it.
struct Place {
  std::size_t area = 0;
  std::uint64_t offset = 0;
};

/// The areas of one kind of memory, and the places in them, by number of the tensor.
struct Packing {
  std::vector<std::uint64_t> area_bytes;
  std::vector<Place> places;
};

std::uint64_t aligned(std::uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

/// Packs the tensors that lie in memory of `kind`, in order.
Packing pack(const std::vector<port::StageItem>& tensors, MemoryKind kind, std::uint64_t areas) {
  Packing packing;
  packing.places.resize(tensors.size());
  const auto bytes_of = [&](const port::StageItem& tensor) { return tensor.source.kind == kind ? aligned(tensor.source.bytes()) : 0; };
  std::uint64_t total = 0;
  for (const port::StageItem& tensor : tensors) total += bytes_of(tensor);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::uint64_t bytes = bytes_of(tensors[i]);
    if (bytes == 0) continue;
    if (packing.area_bytes.empty() || packing.area_bytes.back() + bytes > std::max(bytes, total / areas)) packing.area_bytes.push_back(0);
    packing.places[i] = {packing.area_bytes.size() - 1, packing.area_bytes.back()};
    packing.area_bytes.back() += bytes;
  }
  return packing;
}

/// What a device that runs late writes to.
struct Kept {
  std::vector<port::Buffer> device, host;
  std::vector<TensorDigest> digests;
};

/// False where there is no room.
Result<bool> allocate(StagingPool& pool, const Packing& device, const Packing& host, const SnapshotLimits& limits, Kept& kept) {
  for (const std::uint64_t bytes : device.area_bytes) {
    std::optional<port::Buffer> area = TRY(pool.try_allocate_device(bytes, limits.device_bytes_max));
    if (!area) return false;
    kept.device.push_back(*std::move(area));
  }
  for (const std::uint64_t bytes : host.area_bytes) {
    if (bytes > limits.host_bytes_max) return false;
    std::optional<port::Buffer> area = TRY(pool.try_acquire(bytes, limits.staging_budget_bytes));
    if (!area || area->bytes.size() > limits.host_bytes_max)
      return false;  // one that is used again may be larger, and leave no room for a window
    MARK("snapshot.host_tensors");
    kept.host.push_back(*std::move(area));
  }
  return true;
}

bool is_out_of_memory(const Error& error) { return error.code == ErrorCode::out_of_memory; }

}  // namespace

Result<std::optional<std::vector<TensorCopy>>> take_snapshot(Stager& stager, StagingPool& pool, std::vector<port::StageItem> tensors,
                                                             const SnapshotLimits& limits) {
  const Packing device = pack(tensors, MemoryKind::device, allocations), host = pack(tensors, MemoryKind::host, 1);
  if (device.area_bytes.empty()) return std::nullopt;
  const auto kept = std::make_shared<Kept>();
  kept->digests.resize(tensors.size());
  const Result<bool> has_room = allocate(pool, device, host, limits, *kept);
  if (!has_room && !is_out_of_memory(has_room.error())) return fail(has_room.error());
  if (!has_room || !*has_room) {
    MARK("snapshot.no_room");
    return std::nullopt;
  }
  std::vector<TensorCopy> copies;
  std::vector<port::StageItem> items;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    port::StageItem& item = tensors[i];
    const StridedBlock& source = item.source;
    TensorCopy& copy = copies.emplace_back();
    copy.memory = packed_block(nullptr, source.sizes, source.element_bytes, source.kind);
    if (source.bytes() == 0) continue;
    const bool on_device = source.kind == MemoryKind::device;
    const Place place = (on_device ? device : host).places[i];
    const port::Buffer& area = (on_device ? kept->device : kept->host)[place.area];
    item.destination = area.bytes.subspan(place.offset, source.bytes());
    item.digest = &kept->digests[i];
    copy.memory.data = item.destination.data();
    copy.owner = area.owner;
    items.push_back(std::move(item));
  }
  if (const Status copied = stager.stage(items, kept); !copied) {
    if (!is_out_of_memory(copied.error())) return fail(copied.error());
    MARK("snapshot.no_room");  // the device's own, for the copy
    return std::nullopt;
  }
  for (std::size_t i = 0; i < copies.size(); ++i) copies[i].digest = kept->digests[i];
  MARK("snapshot.taken");
  return copies;
}

}  // namespace holdfast::protocol
