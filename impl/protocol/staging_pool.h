// Staging memory of a session, and device memory for its snapshots: bounded, and given back when the last owner of a buffer is gone, an abandoned
// write included. Staging is reused: to make it costs more than to fill it (BENCHMARKS.md, `gpu`), so a session's first save pays for it, and the next do not.
// Device memory is not: the trainer wants it back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "impl/port/device.h"
#include "impl/port/tasks.h"

namespace holdfast::protocol {

/// Used by any of the session's tasks. The doors must outlive it and its buffers.
class StagingPool {
 public:
  StagingPool(port::Device& device, port::Tasks& tasks);
  /// Frees what is idle; the rest is freed as it comes back.
  ~StagingPool();
  StagingPool(const StagingPool&) = delete;
  StagingPool& operator=(const StagingPool&) = delete;

  /// At least `bytes` of staging memory (Device::allocate_staging); its bytes are those of an earlier use. It comes back to the pool when the last copy of
  /// its owner is gone. Blocks until the pool, with it, holds at most `budget_bytes`, what is idle included: idle buffers are reused, or freed.
  /// Errors: invalid_argument when `bytes` alone is more than the budget; timeout; what the device says.
  Result<port::Buffer> acquire(std::size_t bytes, std::uint64_t budget_bytes, port::Deadline deadline);
  /// The same, but none where acquire() would wait: for who holds buffers that only it can give back. Blocks for nothing but the device.
  Result<std::optional<port::Buffer>> try_acquire(std::size_t bytes, std::uint64_t budget_bytes);

  /// `bytes` of device memory (Device::allocate_device), until the last copy of its owner is gone. None where more than `bytes_max` of it would then be held,
  /// or where the device has no more. Blocks for nothing but the device. Errors: what it says but out_of_memory.
  Result<std::optional<port::Buffer>> try_allocate_device(std::size_t bytes, std::uint64_t bytes_max);

  /// Frees idle buffers until no more than `bytes` are held, or none is idle.
  void trim(std::uint64_t bytes);

  std::uint64_t held_bytes() const;    ///< of staging, in use and idle
  std::uint64_t peak_bytes() const;    ///< the most of it that was ever held
  std::uint64_t device_bytes() const;  ///< of device memory, in use

 private:
  struct State;
  struct Claim;
  Result<port::Buffer> take(std::size_t bytes, Claim claim);

  port::Device& device_;
  std::shared_ptr<State> state_;  // shared with the buffers that are in use
};

}  // namespace holdfast::protocol
