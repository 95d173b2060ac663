#include "impl/backend/host/device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>

#include "impl/backend/host/clock.h"
#include "impl/core/check.h"
#include "impl/core/transfer.h"

namespace holdfast::backend {
namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t huge_page_bytes = 2 << 20;
constexpr int poison = 0xDB;

StridedBlock on_host(StridedBlock block) {
  block.kind = MemoryKind::host;
  return block;
}

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
  if (::posix_memalign(&data, bytes < huge_page_bytes ? page_bytes : huge_page_bytes, std::max<std::size_t>(bytes, 1)) != 0) {
    give_back(nullptr);
    return fail(ErrorCode::out_of_memory, "allocate {} bytes of {} memory: the system has no more", bytes, what);
  }
  // Fewer faults, and fewer pages for the kernel to pin when the bytes go to a disk. Where the kernel has none it is only slower.
  if (bytes >= huge_page_bytes) (void)::madvise(data, bytes, MADV_HUGEPAGE);
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

/// In eager mode the caller does the work itself, outside the lock: streams of different tasks copy at the same time.
bool HostDevice::run_now(port::StreamId id) {
  const std::scoped_lock lock(streams_->mutex);
  (void)streams_->find(id);
  return options_.streams == StreamMode::eager;
}

Status HostDevice::enqueue(port::StreamId id, std::function<void()> work) {
  const std::scoped_lock lock(streams_->mutex);
  Streams::Stream& stream = *streams_->find(id);
  stream.queue.emplace_back(std::move(work));
  ++stream.enqueued;
  return {};
}

Status HostDevice::stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) {
  for (const port::StageItem& item : items) TRY(port::check(item));
  const auto run = [](const port::StageItem& item) {
    pack_and_digest(on_host(item.source), item.box, item.shape, item.dtype, item.destination, item.digest);
  };
  if (run_now(stream)) {
    std::ranges::for_each(items, run);
    return {};
  }
  return enqueue(stream, [run, kept_items = std::vector(items.begin(), items.end()), kept = std::move(owner)] {
    std::ranges::for_each(kept_items, run);
  });
}

Status HostDevice::unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) {
  for (const port::UnstageItem& item : items) TRY(port::check(item));
  const auto run = [](const port::UnstageItem& item) {
    copy_and_digest(item.source, item.box, item.shape, item.dtype, on_host(item.destination), item.digest);
  };
  if (run_now(stream)) {
    std::ranges::for_each(items, run);
    return {};
  }
  return enqueue(stream, [run, kept_items = std::vector(items.begin(), items.end()), kept = std::move(owner)] {
    std::ranges::for_each(kept_items, run);
  });
}

Result<port::EventId> HostDevice::record(port::StreamId id) {
  const std::scoped_lock lock(streams_->mutex);
  const auto stream = streams_->streams.find(id);  // a user may have named it
  if (stream == streams_->streams.end()) return fail(ErrorCode::invalid_argument, "record an event: stream {} is not open", id.value);
  const port::EventId event{streams_->next++};
  streams_->events[event] = {stream->second, stream->second->enqueued};
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
  if (run_now(stream)) return {};  // all that was enqueued before has run
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
