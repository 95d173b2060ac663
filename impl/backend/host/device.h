// Device over host memory, for machines without a GPU: copies are memcpy, the digest is computed by the CPU.
#pragma once

#include <functional>
#include <limits>
#include <memory>

#include "impl/port/device.h"

namespace holdfast::backend {

/// When the work on a stream runs.
enum class StreamMode : std::uint8_t {
  eager,  ///< in the call that enqueues it
  lazy,   ///< as late as the contract allows: when an event after it is synchronised, or its stream is destroyed
};

struct HostDeviceOptions {
  StreamMode streams = StreamMode::eager;
  /// Allocations that would pass this total are refused with out_of_memory.
  std::size_t memory_bytes_max = std::numeric_limits<std::size_t>::max();
};

/// May be called from any thread. Memory starts on a 4096-byte boundary; staging is touched once, so that no copy pays for page faults; in
/// lazy mode it is filled with 0xDB, so that a read before its event shows. Device memory is host memory and says so (MemoryKind::host);
/// blocks of either kind are taken. A stream or an event that is not open is a CHECK, but for record(): invalid_argument. Buffers may outlive the device.
class HostDevice : public port::Device {
 public:
  explicit HostDevice(HostDeviceOptions options = {});
  ~HostDevice() override;
  HostDevice(const HostDevice&) = delete;
  HostDevice& operator=(const HostDevice&) = delete;

  Result<port::Buffer> allocate_staging(std::size_t bytes) override;
  Result<port::Buffer> allocate_device(std::size_t bytes) override;
  Result<port::StreamId> create_stream() override;
  void destroy_stream(port::StreamId stream) override;
  Status stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) override;
  Status unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) override;
  Result<port::EventId> record(port::StreamId stream) override;
  void destroy_event(port::EventId event) override;
  Status wait(port::StreamId stream, port::EventId event) override;
  /// In lazy mode the caller runs the work; work that has not begun at the deadline is a timeout.
  Status synchronize(port::EventId event, port::Deadline deadline) override;

  // What was not given back, for leak tests.
  std::size_t live_buffers() const;
  std::size_t live_bytes() const;
  std::size_t live_streams() const;
  std::size_t live_events() const;

 private:
  struct Memory;
  struct Streams;
  Result<port::Buffer> allocate(std::size_t bytes, std::string_view what);
  bool run_now(port::StreamId stream);
  Status enqueue(port::StreamId stream, std::function<void()> work);

  HostDeviceOptions options_;
  std::shared_ptr<Memory> memory_;  // shared with the buffers
  std::unique_ptr<Streams> streams_;
};

}  // namespace holdfast::backend
