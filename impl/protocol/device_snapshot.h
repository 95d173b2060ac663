// Copies of a rank's tensors in memory of the device, from which a save goes on after async_save has returned: the trainer has waited for a copy within the
// device, and not for one to the host, nor for a disk.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "impl/core/digest.h"
#include "impl/port/device.h"

namespace holdfast::protocol {

class Stager;
class StagingPool;

/// Where async_save copies the tensors to before it returns.
enum class Snapshot : std::uint8_t {
  staging,  ///< host memory, from which they are written
  /// Memory of the device; staged and written from there after the call has returned. What lies in host memory is copied to staging meanwhile. A rank stages, and Saved
  /// says so, if none of its tensors lies in device memory, or if there is no room for them: in device memory, in snapshot_bytes_max, or (for those in host
  /// memory) in the staging budget.
  device,
};

/// A tensor as it was when the snapshot was taken.
struct TensorCopy {
  StridedBlock memory;          ///< packed; where `owner` is null, of no bytes
  TensorDigest digest;          ///< of the tensor's own memory, taken as it was copied
  std::shared_ptr<void> owner;  ///< of `memory`, and of its neighbours'
};

struct SnapshotLimits {
  std::uint64_t device_bytes_max = 0;
  std::uint64_t host_bytes_max = 0;  ///< for tensors that lie in host memory
  std::uint64_t staging_budget_bytes = 0;
};

/// Copies every tensor (source, box, shape, dtype; the rest is filled in here) in one call to the device, in a few allocations, each of which is free when the copies
/// in it are: let go in the order of `tensors`, memory comes back as staging goes on. Blocks until all are copied; nothing reads the tensors then.
/// None, and nothing is held, where they are to be staged (Snapshot::device). Errors: the device's but out_of_memory; timeout: then the work is unfinished
/// (device_wait.h), and keeps the memory that it writes.
Result<std::optional<std::vector<TensorCopy>>> take_snapshot(Stager& stager, StagingPool& pool, std::vector<port::StageItem> tensors,
                                                             const SnapshotLimits& limits);

}  // namespace holdfast::protocol
