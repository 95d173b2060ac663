#include "impl/backend/host/device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>

#include "impl/backend/host/clock.h"
#include "impl/core/check.h"

namespace holdfast::backend {
namespace {

constexpr std::size_t page_bytes = 4096;
constexpr int poison = 0xDB;

StridedBlock on_host(StridedBlock block) {
  block.kind = MemoryKind::host;
  return block;
}

/// A source is only read; StridedBlock has no read-only form.
std::byte* readable(ByteView bytes) { return const_cast<std::byte*>(bytes.data()); }

}  // namespace

struct HostDevice::Memory {
  std::mutex mutex;
  std::size_t buffers = 0;
  std::size_t bytes = 0;
};

// Used in lazy mode for the work, in both modes for what is open.
struct HostDevice::Streams {
  struct Stream {
    std::deque<std::function<void()>> queue;
    std::uint64_t enqueued = 0;
    std::uint64_t done = 0;
  };
  /// The first `position` pieces of work of a stream.
  struct Event {
    std::shared_ptr<Stream> stream;
    std::uint64_t position = 0;
    bool complete() const { return stream->done >= position; }
    void run() const {
      while (!complete()) {
        const std::function<void()> work = std::move(stream->queue.front());
        stream->queue.pop_front();
        work();
        ++stream->done;
      }
    }
  };

  std::mutex mutex;
  std::map<port::StreamId, std::shared_ptr<Stream>> streams;
  std::map<port::EventId, Event> events;
  std::int64_t next = 0;

  std::shared_ptr<Stream>& find(port::StreamId id) {
    const auto found = streams.find(id);
    CHECK(found != streams.end(), "stream {} is not open", id.value);
    return found->second;
  }
  Event& find(port::EventId id) {
    const auto found = events.find(id);
    CHECK(found != events.end(), "event {} is not open", id.value);
    return found->second;
  }
};

HostDevice::HostDevice(HostDeviceOptions options)
    : options_(options), memory_(std::make_shared<Memory>()), streams_(std::make_unique<Streams>()) {}
HostDevice::~HostDevice() = default;

Result<port::Buffer> HostDevice::allocate(std::size_t bytes, std::string_view what) {
  {
    const std::scoped_lock lock(memory_->mutex);
    if (bytes > options_.memory_bytes_max || memory_->bytes > options_.memory_bytes_max - bytes) {
      return fail(ErrorCode::out_of_memory, "allocate {} bytes of {} memory: {} of {} bytes are in use", bytes, what, memory_->bytes,
                  options_.memory_bytes_max);
    }
    memory_->bytes += bytes;
    ++memory_->buffers;
  }
  const auto give_back = [memory = memory_, bytes](void* data) {
    std::free(data);
    const std::scoped_lock lock(memory->mutex);
    memory->bytes -= bytes;
    --memory->buffers;
  };
  void* data = nullptr;
  if (::posix_memalign(&data, page_bytes, std::max<std::size_t>(bytes, 1)) != 0) {
    give_back(nullptr);
    return fail(ErrorCode::out_of_memory, "allocate {} bytes of {} memory: the system has no more", bytes, what);
  }
  if (options_.streams == StreamMode::lazy) std::memset(data, poison, bytes);
  return port::Buffer{{static_cast<std::byte*>(data), bytes}, std::shared_ptr<void>(data, give_back), MemoryKind::host};
}

Result<port::Buffer> HostDevice::allocate_staging(std::size_t bytes) {
  port::Buffer buffer = TRY(allocate(bytes, "staging"));
  if (options_.streams == StreamMode::eager) {
    for (std::size_t at = 0; at < bytes; at += page_bytes) buffer.bytes[at] = std::byte{0};
  }
  return buffer;
}

Result<port::Buffer> HostDevice::allocate_device(std::size_t bytes) { return allocate(bytes, "device"); }

Result<port::StreamId> HostDevice::create_stream() {
  const std::scoped_lock lock(streams_->mutex);
  const port::StreamId id{streams_->next++};
  streams_->streams[id] = std::make_shared<Streams::Stream>();
  return id;
}

void HostDevice::destroy_stream(port::StreamId id) {
  const std::scoped_lock lock(streams_->mutex);
  const std::shared_ptr<Streams::Stream> stream = streams_->find(id);
  Streams::Event{stream, stream->enqueued}.run();
  streams_->streams.erase(id);
}

template <typename Work>
Status HostDevice::enqueue(port::StreamId id, Work work) {
  {
    const std::scoped_lock lock(streams_->mutex);
    Streams::Stream& stream = *streams_->find(id);
    if (options_.streams == StreamMode::lazy) {
      stream.queue.emplace_back(std::move(work));
      ++stream.enqueued;
      return {};
    }
  }
  work();  // outside the lock: streams of different tasks copy at the same time
  return {};
}

Status HostDevice::copy_out(const StridedBlock& source, ByteSpan destination, std::shared_ptr<void> owner, port::StreamId stream) {
  if (destination.size() != source.bytes()) {
    return fail(ErrorCode::invalid_argument, "copy a block of {} bytes out to {} bytes", source.bytes(), destination.size());
  }
  const StridedBlock packed = packed_block(destination.data(), source.sizes, source.element_bytes);
  return enqueue(stream, [from = on_host(source), to = packed, kept = std::move(owner)] { copy_block(from, to); });
}

Status HostDevice::copy_in(ByteView source, std::shared_ptr<const void> owner, const StridedBlock& destination, port::StreamId stream) {
  if (source.size() != destination.bytes()) {
    return fail(ErrorCode::invalid_argument, "copy {} bytes into a block of {} bytes", source.size(), destination.bytes());
  }
  const StridedBlock packed = packed_block(readable(source), destination.sizes, destination.element_bytes);
  return enqueue(stream, [from = packed, to = on_host(destination), kept = std::move(owner)] { copy_block(from, to); });
}

Status HostDevice::digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype, TensorDigest* out,
                          std::shared_ptr<void> owner, port::StreamId stream) {
  return enqueue(
      stream, [host = on_host(block), box, shape, dtype, out, kept = std::move(owner)] { *out = tensor_digest(host, box, shape, dtype); });
}

Result<port::EventId> HostDevice::record(port::StreamId id) {
  const std::scoped_lock lock(streams_->mutex);
  const std::shared_ptr<Streams::Stream>& stream = streams_->find(id);
  const port::EventId event{streams_->next++};
  streams_->events[event] = {stream, stream->enqueued};
  return event;
}

void HostDevice::destroy_event(port::EventId event) {
  const std::scoped_lock lock(streams_->mutex);
  streams_->find(event);
  streams_->events.erase(event);
}

Status HostDevice::wait(port::StreamId stream, port::EventId id) {
  Streams::Event event;
  {
    const std::scoped_lock lock(streams_->mutex);
    event = streams_->find(id);
  }
  // An event was recorded before anything that waits for it, so running its work inside this stream's work can not come back here.
  return enqueue(stream, [event] { event.run(); });
}

Status HostDevice::synchronize(port::EventId id, port::Deadline deadline) {
  const std::scoped_lock lock(streams_->mutex);
  const Streams::Event event = streams_->find(id);
  if (!event.complete() && SteadyClock().now() >= deadline.at) {
    return fail(ErrorCode::timeout, "synchronize: {} pieces of work before the event have not run at the deadline",
                event.position - event.stream->done);
  }
  event.run();
  return {};
}

std::size_t HostDevice::live_buffers() const {
  const std::scoped_lock lock(memory_->mutex);
  return memory_->buffers;
}
std::size_t HostDevice::live_bytes() const {
  const std::scoped_lock lock(memory_->mutex);
  return memory_->bytes;
}
std::size_t HostDevice::live_streams() const {
  const std::scoped_lock lock(streams_->mutex);
  return streams_->streams.size();
}
std::size_t HostDevice::live_events() const {
  const std::scoped_lock lock(streams_->mutex);
  return streams_->events.size();
}

}  // namespace holdfast::backend
