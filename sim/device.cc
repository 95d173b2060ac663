#include "sim/device.h"

#include <algorithm>
#include <cstring>

#include "impl/core/check.h"
#include "impl/core/transfer.h"

namespace holdfast::sim {
namespace {

constexpr int poison = 0xDB;

/// Device memory is host memory here.
StridedBlock on_host(StridedBlock block) {
  block.kind = MemoryKind::host;
  return block;
}

}  // namespace

struct Device::Allocation {
  std::unique_ptr<std::byte[]> memory;
  std::size_t size = 0;
  bool freed = false;  // by its owner; queued work may still hold the memory
};

struct Device::Ledger {
  std::vector<std::shared_ptr<Allocation>> live;
};

struct Device::CreateStream {
  Device& device;
  Result<port::StreamId> operator()(std::string_view, std::string_view) {
    device.streams_.emplace_back();
    return port::StreamId{static_cast<std::int64_t>(device.streams_.size() - 1)};
  }
  void discard(port::StreamId stream) { device.destroy_stream(stream); }
};

struct Device::Record {
  Device& device;
  std::size_t stream;
  Result<port::EventId> operator()(std::string_view, std::string_view) {
    device.events_.push_back({{stream, device.streams_[stream].enqueued}});
    tsan::release(&device);
    device.progress(stream);
    return port::EventId{static_cast<std::int64_t>(device.events_.size() - 1)};
  }
  void discard(port::EventId event) { device.destroy_event(event); }
};

Device::Device(Kernel& kernel, RankState& rank) : kernel_(kernel), rank_(rank), ledger_(std::make_shared<Ledger>()) {}
Device::~Device() = default;

Result<port::Buffer> Device::allocate_staging(std::size_t bytes) { return allocate(Op::device_allocate_staging, bytes, MemoryKind::host); }
Result<port::Buffer> Device::allocate_device(std::size_t bytes) { return allocate(Op::device_allocate, bytes, MemoryKind::device); }

Result<port::Buffer> Device::allocate(Op op, std::size_t bytes, MemoryKind kind) {
  const auto effect = [this, bytes, kind](std::string_view, std::string_view) -> Result<port::Buffer> {
    auto allocation = std::make_shared<Allocation>();
    allocation->memory.reset(new std::byte[bytes]);
    allocation->size = bytes;
    std::memset(allocation->memory.get(), poison, bytes);
    ledger_->live.push_back(allocation);
    std::byte* data = allocation->memory.get();
    const auto free = [ledger = ledger_, allocation](void*) {
      const tsan::Inside inside;
      allocation->freed = true;
      std::memset(allocation->memory.get(), poison, allocation->size);  // who still reads it reads nonsense
      ledger->live.erase(std::find(ledger->live.begin(), ledger->live.end(), allocation));
    };
    return port::Buffer{{data, bytes}, std::shared_ptr<void>(static_cast<void*>(data), free), kind};
  };
  return kernel_.call(rank_, {.op = op, .bytes = bytes}, {}, effect);
}

Device::Stream* Device::find(port::StreamId stream) {
  const bool known = stream.value >= 0 && static_cast<std::size_t>(stream.value) < streams_.size();
  return known && streams_[static_cast<std::size_t>(stream.value)].alive ? &streams_[static_cast<std::size_t>(stream.value)] : nullptr;
}

Device::Event* Device::find(port::EventId event) {
  const bool known = event.value >= 0 && static_cast<std::size_t>(event.value) < events_.size();
  return known && events_[static_cast<std::size_t>(event.value)].alive ? &events_[static_cast<std::size_t>(event.value)] : nullptr;
}

Result<port::StreamId> Device::create_stream() { return kernel_.call(rank_, {.op = Op::device_create_stream}, {}, CreateStream{*this}); }

void Device::destroy_stream(port::StreamId stream) {
  const tsan::Inside inside;
  Stream* destroyed = find(stream);
  if (!destroyed || rank_.dead) return;
  progress(
      static_cast<std::size_t>(stream.value));  // destroying waits for nothing: the rest comes after everything that does not wait for it
  destroyed->alive = false;
}

void Device::destroy_event(port::EventId event) {
  const tsan::Inside inside;
  if (Event* destroyed = find(event)) destroyed->alive = false;
}

Status Device::enqueue(port::StreamId stream, std::uint64_t bytes, const std::vector<const std::byte*>& touched, Work work) {
  for (const std::byte* address : touched) {
    const auto holds = [&](const std::shared_ptr<Allocation>& a) {
      return address >= a->memory.get() && address < a->memory.get() + a->size;
    };
    const auto used = std::find_if(ledger_->live.begin(), ledger_->live.end(), holds);
    if (used != ledger_->live.end()) work.uses.push_back(*used);
  }
  const CallInfo info{.op = work.op, .bytes = bytes, .number = static_cast<std::uint64_t>(stream.value)};
  const auto effect = [this, stream, work = std::move(work)](std::string_view, std::string_view) mutable -> Status {
    Stream* const target = find(stream);
    if (!target) return fail(ErrorCode::invalid_argument, "{}: stream {} does not exist", to_string(work.op), stream.value);
    target->queue.push_back(std::move(work));
    ++target->enqueued;
    tsan::release(this);
    progress(static_cast<std::size_t>(stream.value));
    return {};
  };
  return kernel_.call(rank_, info, {}, effect);
}

// Each item is a piece of work of its own: so a device may have done some of them and not others at any moment.

Status Device::stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) {
  const tsan::Inside inside;
  for (const port::StageItem& item : items) TRY(port::check(item));
  for (port::StageItem item : items) {
    item.source = on_host(std::move(item.source));
    const auto run = [item] { pack_and_digest(item.source, item.box, item.shape, item.dtype, item.destination, item.digest); };
    TRY(enqueue(stream, item.source.bytes(), {item.source.data, item.destination.data(), reinterpret_cast<const std::byte*>(item.digest)},
                {Op::device_stage, run, {}, owner}));
  }
  return {};
}

Status Device::unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) {
  const tsan::Inside inside;
  for (const port::UnstageItem& item : items) TRY(port::check(item));
  for (port::UnstageItem item : items) {
    item.destination = on_host(std::move(item.destination));
    const auto run = [item] { copy_and_digest(item.source, item.box, item.shape, item.dtype, item.destination, item.digest); };
    TRY(enqueue(stream, item.source.bytes(), {item.source.data, item.destination.data, reinterpret_cast<const std::byte*>(item.digest)},
                {Op::device_unstage, run, {}, owner}));
  }
  return {};
}

Result<port::EventId> Device::record(port::StreamId stream) {
  const tsan::Inside inside;
  if (!find(stream)) return fail(ErrorCode::invalid_argument, "record an event: stream {} does not exist", stream.value);
  return kernel_.call(rank_, {.op = Op::device_record, .number = static_cast<std::uint64_t>(stream.value)}, {},
                      Record{*this, static_cast<std::size_t>(stream.value)});
}

Status Device::wait(port::StreamId stream, port::EventId event) {
  const tsan::Inside inside;
  const Event* awaited = find(event);
  if (!awaited) return fail(ErrorCode::invalid_argument, "stream {} waits for event {}, which does not exist", stream.value, event.value);
  return enqueue(stream, 0, {}, {Op::device_wait, nullptr, awaited->point, nullptr});
}

Status Device::synchronize(port::EventId event, port::Deadline deadline) {
  const auto effect = [this, event](std::string_view, std::string_view) -> Status {
    const Event* awaited = find(event);
    if (!awaited) return fail(ErrorCode::invalid_argument, "synchronize: event {} does not exist", event.value);
    run_until(awaited->point);
    tsan::acquire(this);
    return {};
  };
  return kernel_.call(rank_, {.op = Op::device_synchronize, .number = static_cast<std::uint64_t>(event.value)}, deadline, effect);
}

/// Runs what lies before `point`, and what that waits for.
void Device::run_until(Point point) {
  Stream& stream = streams_[point.stream];
  while (!stream.queue.empty() && stream.enqueued - stream.queue.size() < point.position) {
    const Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    if (!work.run) {
      run_until(work.after);
      continue;
    }
    const bool uses_freed = std::any_of(work.uses.begin(), work.uses.end(), [](const auto& allocation) { return allocation->freed; });
    if (uses_freed) {
      kernel_.trace().misuse.push_back(
          fmt::format("rank {}: {} on stream {} ran after a buffer it uses was freed", rank_.rank, to_string(work.op), point.stream));
    }
    work.run();
  }
}

/// Work may run as soon as it is queued: none of it, half of it or all of it does.
void Device::progress(std::size_t stream) {
  const std::size_t waiting = streams_[stream].queue.size();
  if (!kernel_.scenario().random_latency || waiting == 0) return;
  const std::uint32_t halves = kernel_.decisions().pick(DecisionKind::device_progress, 3);
  run_until({stream, streams_[stream].enqueued - waiting + (waiting * halves + 1) / 2});
}

void Device::account() {
  for (Stream& stream : streams_) stream.queue.clear();
  rank_.leak.buffers = static_cast<int>(ledger_->live.size());
  rank_.leak.streams = static_cast<int>(std::count_if(streams_.begin(), streams_.end(), [](const Stream& s) { return s.alive; }));
  rank_.leak.events = static_cast<int>(std::count_if(events_.begin(), events_.end(), [](const Event& e) { return e.alive; }));
}

}  // namespace holdfast::sim
