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

/// A block of a tensor that is staged: packed into `destination` (row-major, source.bytes() long; or empty: nothing is copied), which lies in host memory, or as
/// the source in the device's. Unless `digest` is null, it gets tensor_digest(source, box, shape, dtype), computed where the source lies; box, shape and dtype serve
/// nothing else.
struct StageItem {
  StridedBlock source;
  Box box = {};
  Dims shape = {};
  DType dtype = DType::u8;
  ByteSpan destination = {};
  TensorDigest* digest = nullptr;
};

/// A block that is unstaged: copied from `source`, which lies in host memory, or packed as the destination in the device's. Unless `digest` is null, it gets
/// tensor_digest(destination, box, shape, dtype), computed where the destination lies after that.
struct UnstageItem {
  StridedBlock source;
  Box box = {};
  Dims shape = {};
  DType dtype = DType::u8;
  StridedBlock destination;
  TensorDigest* digest = nullptr;
};

/// Errors beside those named: io_error, with the device's reason. Nothing but synchronize() and allocating blocks.
class Device {
 public:
  virtual ~Device() = default;

  /// `bytes` of host memory that copies can reach at full speed (pinned where that means something). Errors: out_of_memory.
  virtual Result<Buffer> allocate_staging(std::size_t bytes) = 0;
  /// `bytes` of device memory. Errors: out_of_memory.
  virtual Result<Buffer> allocate_device(std::size_t bytes) = 0;

  /// A queue of work of its own; what is enqueued on two streams has no order but by wait().
  virtual Result<StreamId> create_stream() = 0;
  /// Waits for nothing; work on the stream still runs to its end.
  virtual void destroy_stream(StreamId stream) = 0;

  // Enqueued on `stream`, run in stream order some time later, perhaps after the caller gave up: the back end keeps `owner` until then, which
  // must keep the host side (staging, digests) alive. The device side must stay valid, and unchanged (a source) or unread (a destination), until an
  // event recorded after the call has been synchronised. Items of one call are in no order: none may write what another reads or writes. Thousands of small ones cost
  // little more than one of all their bytes, where each alone would cost a call to the device. After an error some may have been enqueued.

  /// Host memory is read once, if the block fits the cache. Errors: invalid_argument for a destination of another size.
  virtual Status stage(std::span<const StageItem> items, std::shared_ptr<void> owner, StreamId stream) = 0;
  /// Errors: invalid_argument for blocks of different sizes.
  virtual Status unstage(std::span<const UnstageItem> items, std::shared_ptr<const void> owner, StreamId stream) = 0;

  /// stage() without a digest, unstage() of packed memory without one, stage() of nothing but the digest.
  Status copy_out(const StridedBlock& source, ByteSpan destination, std::shared_ptr<void> owner, StreamId stream);
  Status copy_in(ByteView source, std::shared_ptr<const void> owner, const StridedBlock& destination, StreamId stream);
  Status digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype, TensorDigest* out, std::shared_ptr<void> owner,
                StreamId stream);

  /// An event that is complete when everything enqueued on `stream` so far is. Errors: invalid_argument for a stream that is not open, or is capturing a graph.
  virtual Result<EventId> record(StreamId stream) = 0;
  /// Waits for nothing.
  virtual void destroy_event(EventId event) = 0;
  /// Later work on `stream` waits for `event`.
  virtual Status wait(StreamId stream, EventId event) = 0;
  /// Blocks the caller until `event` is complete. Errors: timeout; io_error for an asynchronous failure of work before it.
  virtual Status synchronize(EventId event, Deadline deadline) = 0;
};

// The sizes that stage() and unstage() require, for back ends to check. Errors: invalid_argument.
inline Status check(const StageItem& item) {
  if (item.destination.empty() || item.destination.size() == item.source.bytes()) return {};
  return fail(ErrorCode::invalid_argument, "copy a block of {} bytes out to {} bytes", item.source.bytes(), item.destination.size());
}

inline Status check(const UnstageItem& item) {
  const StridedBlock &source = item.source, &destination = item.destination;
  if (source.sizes == destination.sizes && source.element_bytes == destination.element_bytes) return {};
  return fail(ErrorCode::invalid_argument, "copy a block {} of {}-byte elements into a block {} of {}-byte elements",
              to_string({source.sizes.data(), source.sizes.size()}), source.element_bytes,
              to_string({destination.sizes.data(), destination.sizes.size()}), destination.element_bytes);
}

inline Status Device::copy_out(const StridedBlock& source, ByteSpan destination, std::shared_ptr<void> owner, StreamId stream) {
  if (destination.empty() && source.bytes() != 0)
    return fail(ErrorCode::invalid_argument, "copy a block of {} bytes out to 0 bytes", source.bytes());
  const StageItem item{.source = source, .destination = destination};
  return stage({&item, 1}, std::move(owner), stream);
}

inline Status Device::copy_in(ByteView source, std::shared_ptr<const void> owner, const StridedBlock& destination, StreamId stream) {
  if (source.size() != destination.bytes())
    return fail(ErrorCode::invalid_argument, "copy {} bytes into a block of {} bytes", source.size(), destination.bytes());
  auto* data = const_cast<std::byte*>(source.data());  // a block is a view for both directions; nothing writes through this one
  const UnstageItem item{.source = packed_block(data, destination.sizes, destination.element_bytes), .destination = destination};
  return unstage({&item, 1}, std::move(owner), stream);
}

inline Status Device::digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype, TensorDigest* out,
                             std::shared_ptr<void> owner, StreamId stream) {
  const StageItem item{block, box, shape, dtype, {}, out};
  return stage({&item, 1}, std::move(owner), stream);
}

}  // namespace holdfast::port
