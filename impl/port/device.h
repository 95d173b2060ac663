// The door to tensor memory: staging buffers, asynchronous copies on streams, events, digests. On a machine without a GPU the
// host back end does the same with memcpy.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "impl/core/box.h"
#include "impl/core/digest.h"
#include "impl/core/error.h"
#include "impl/core/memory.h"
#include "impl/port/clock.h"

namespace holdfast::port {

struct StreamId {
  std::int64_t value = -1;
  auto operator<=>(const StreamId&) const = default;
};
struct EventId {
  std::int64_t value = -1;
  auto operator<=>(const EventId&) const = default;
};

/// Memory with shared ownership: freed when the last owner is gone. The bytes are not initialised.
struct Buffer {
  ByteSpan bytes;
  std::shared_ptr<void> owner;
  MemoryKind kind = MemoryKind::host;
};

class Device {
 public:
  virtual ~Device() = default;

  /// Host memory that copies can reach at full speed (pinned where that means something). Errors: out_of_memory.
  virtual Result<Buffer> allocate_staging(std::size_t bytes) = 0;
  /// Device memory. Errors: out_of_memory.
  virtual Result<Buffer> allocate_device(std::size_t bytes) = 0;

  virtual Result<StreamId> create_stream() = 0;
  /// Waits for nothing; work on the stream still runs to its end.
  virtual void destroy_stream(StreamId stream) = 0;

  // Enqueued on `stream`, run in stream order some time later, perhaps after the caller gave up: the back end keeps `owner` until then, which
  // must keep the host side (staging, *out) alive. The device side must stay valid, and unchanged (a source) or unread (a destination), until an
  // event recorded after the call has been synchronised.
  /// Packs `source` into `destination` (row-major, source.bytes() long).
  virtual Status copy_out(const StridedBlock& source, ByteSpan destination, std::shared_ptr<void> owner, StreamId stream) = 0;
  /// Unpacks `source` (row-major, destination.bytes() long) into `destination`.
  virtual Status copy_in(ByteView source, std::shared_ptr<const void> owner, const StridedBlock& destination, StreamId stream) = 0;
  /// Writes tensor_digest(block, box, shape, dtype) to *out, computed where the block lies.
  virtual Status digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype, TensorDigest* out,
                        std::shared_ptr<void> owner, StreamId stream) = 0;

  /// An event that is complete when everything enqueued on `stream` so far is.
  virtual Result<EventId> record(StreamId stream) = 0;
  virtual void destroy_event(EventId event) = 0;
  /// Later work on `stream` waits for `event`.
  virtual Status wait(StreamId stream, EventId event) = 0;
  /// Blocks the caller until `event` is complete. Errors: timeout; io_error for an asynchronous failure of work before it.
  virtual Status synchronize(EventId event, Deadline deadline) = 0;
};

}  // namespace holdfast::port
