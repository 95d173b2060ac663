#include "impl/backend/cuda/device.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "impl/backend/cuda/batch.h"
#include "impl/backend/cuda/digest.cuh"
#include "impl/backend/cuda/staging_memory.h"
#include "impl/core/check.h"
#include "impl/core/mutate.h"
#include "impl/core/transfer.h"

namespace holdfast::backend {
namespace cuda {
namespace {

constexpr port::Duration poll_first = std::chrono::microseconds(20);
constexpr port::Duration poll_longest = std::chrono::milliseconds(1);

struct Event {
  OwnedEvent owned;
  Site site;                    ///< of its stream when it was recorded
  std::uint64_t operation = 0;  ///< of its stream, the latest before it
};

/// Operations that have ended. Declared before the lock, so that what they own is let go after it: its destructor may come back here.
using Ended = std::vector<Operation>;

class Device final : public CudaDevice {
 public:
  Device(int ordinal, port::Clock& clock, DeviceMemory keys) : ordinal_(ordinal), clock_(clock), keys_(std::move(keys)) {}
  ~Device() override;

  Result<port::Buffer> allocate_staging(std::size_t bytes) override;
  Result<port::Buffer> allocate_device(std::size_t bytes) override;
  Result<port::StreamId> create_stream() override;
  Result<port::StreamId> view_stream(void* cuda_stream) override;
  void destroy_stream(port::StreamId stream) override;
  Status stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) override;
  Status unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) override;
  Result<port::EventId> record(port::StreamId stream) override;
  void destroy_event(port::EventId event) override;
  Status wait(port::StreamId stream, port::EventId event) override;
  Status synchronize(port::EventId event, port::Deadline deadline) override;

 private:
  Site site(port::StreamId stream = {}) { return {ordinal_, stream, {}, &lost_}; }
  Stream& stream(port::StreamId id);
  Event& event(port::EventId id);
  /// Of the stream that it was recorded on, with what is under way of that which it stands for.
  Site site(const Event& event) const;
  Status enter(OnDevice& here);
  /// One poll: true when the event is complete.
  Result<bool> query(port::EventId id);
  /// Takes back what the work before a completed event no longer needs.
  void end_operations(const Event& completed, Ended& ended);
  Status check_digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype) const;
  /// Drops the closed streams whose work has ended.
  void drop_closed(Ended& ended);
  void end(Ended operations, Ended& ended);

  const int ordinal_;
  const int numa_node_ = nearest_numa_node(ordinal_);
  port::Clock& clock_;
  std::mutex mutex_;  ///< over everything below; never held while sleeping
  std::string lost_;  ///< the error that lost the device
  DeviceMemory keys_;
  const std::shared_ptr<Allocations> allocations_ = std::make_shared<Allocations>();
  BatchMemory batch_memory_;
  std::int64_t next_id_ = 0;
  std::map<port::EventId, Event> events_;
  std::map<port::StreamId, std::unique_ptr<Stream>> streams_;
  std::vector<std::unique_ptr<Stream>> closed_;  ///< with work under way
  SpareAreas spare_;                             ///< of closed streams, for the next
};

Device::~Device() {
  OnDevice here;
  (void)here.enter(site());
  for (auto& [id, open] : streams_) open->drain();
  for (auto& closed : closed_) closed->drain();
}

Stream& Device::stream(port::StreamId id) {
  const auto found = streams_.find(id);
  CHECK(found != streams_.end(), "stream {} is not open on device {}", id.value, ordinal_);
  return *found->second;
}

Event& Device::event(port::EventId id) {
  const auto found = events_.find(id);
  CHECK(found != events_.end(), "event {} is not open on device {}", id.value, ordinal_);
  return found->second;
}

Site Device::site(const Event& event) const {
  Site site = event.site;
  if (const auto on = streams_.find(site.stream); on != streams_.end()) site.under_way = on->second->under_way(event.operation);
  return site;
}

Status Device::enter(OnDevice& here) {
  if (!lost_.empty()) return fail(ErrorCode::io_error, "device {} was lost earlier: {}", ordinal_, lost_);
  return here.enter(site());
}

Result<port::Buffer> Device::allocate_staging(std::size_t bytes) {
  Pages pages = TRY(Pages::map(bytes, numa_node_));  // the long part of it, in which other calls go on
  const std::lock_guard lock(mutex_);
  OnDevice here;
  TRY(enter(here));
  return allocations_->hold(TRY(pin(site(), std::move(pages))), bytes, MemoryKind::host);
}

Result<port::Buffer> Device::allocate_device(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  OnDevice here;
  TRY(enter(here));
  return allocations_->hold(TRY(allocate_device_memory(site(), std::max(bytes, std::size_t{1}))), bytes, MemoryKind::device);
}

Result<port::StreamId> Device::create_stream() {
  Ended ended;
  const std::lock_guard lock(mutex_);
  OnDevice here;
  TRY(enter(here));
  drop_closed(ended);
  const port::StreamId id{next_id_++};
  streams_[id] = TRY(Stream::create(site(id), spare_));
  return id;
}

Result<port::StreamId> Device::view_stream(void* cuda_stream) {
  const std::lock_guard lock(mutex_);
  OnDevice here;
  TRY(enter(here));
  const port::StreamId id{next_id_++};
  streams_[id] = TRY(Stream::view(site(id), static_cast<cudaStream_t>(cuda_stream)));
  return id;
}

void Device::destroy_stream(port::StreamId id) {
  Ended ended;
  const std::lock_guard lock(mutex_);
  OnDevice here;
  (void)here.enter(site());
  stream(id).close();
  closed_.push_back(std::move(streams_.extract(id).mapped()));
  drop_closed(ended);
}

void Device::drop_closed(Ended& ended) {
  std::erase_if(closed_, [&](auto& closed) {
    if (!closed->idle()) return false;
    end(closed->take_ended(closed->latest_operation()), ended);
    closed->leave_areas(spare_);
    return true;
  });
}

void Device::end_operations(const Event& completed, Ended& ended) {
  const auto on = streams_.find(completed.site.stream);
  if (on != streams_.end()) end(on->second->take_ended(completed.operation), ended);
}

void Device::end(Ended operations, Ended& ended) {
  for (Operation& operation : operations) {
    batch_memory_.scratch.give_back(operation.scratch);
    ended.push_back(std::move(operation));
  }
}

Status Device::check_digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype) const {
  CHECK(block.sizes == box.size && in_bounds(box, shape) && block.element_bytes == size_bytes(dtype),
        "digest of box {} of {} in a tensor of shape {}", to_string(box), to_string(dtype), to_string({shape.data(), shape.size()}));
  if (block.kind == MemoryKind::host || block.bytes() == 0) return {};
  auto misaligned = reinterpret_cast<std::uintptr_t>(block.data);
  for (std::size_t d = 0; d < block.sizes.size(); ++d) {
    if (block.sizes[d] != 1) misaligned |= static_cast<std::uintptr_t>(block.strides_bytes[d]);
  }
  if (misaligned % unit_bytes(dtype) == 0) return {};
  return fail(ErrorCode::invalid_argument, "digest of {} elements on device {}: address or stride is not a multiple of {}",
              to_string(dtype), ordinal_, unit_bytes(dtype));
}

/// "stage of 64 bytes", "stage of 20000 blocks, 81920000 bytes".
template <typename Item>
std::string name_of(const char* what, std::span<const Item> items) {
  std::size_t bytes = 0;
  for (const Item& item : items) bytes += item.source.bytes();
  if (items.size() == 1) return fmt::format("{} of {} bytes", what, bytes);
  return fmt::format("{} of {} blocks, {} bytes", what, items.size(), bytes);
}

Status Device::stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId id) {
  bool digests = false;
  for (const port::StageItem& item : items) {
    TRY(port::check(item));
    digests |= item.digest != nullptr;
    if (item.digest) TRY(check_digest(item.source, item.box, item.shape, item.dtype));
  }
  const std::lock_guard lock(mutex_);
  Stream& on = stream(id);
  Batch batch(Way::out, *allocations_, batch_memory_);
  for (const port::StageItem& item : items) {
    if (item.destination.empty() && !item.digest) continue;
    if (item.source.kind == MemoryKind::host || item.source.bytes() == 0) {
      batch.on_host([item] { pack_and_digest(item.source, item.box, item.shape, item.dtype, item.destination, item.digest); });
      continue;
    }
    if (item.digest) batch.digest(item.source, item.box, item.shape, item.dtype, item.digest);
    if (item.destination.empty()) continue;
    batch.move(item.source, item.destination.data());
  }
  if (batch.empty()) return {};
  OnDevice here;
  if (MUTATE("cuda.device_not_set", true, !digests)) TRY(enter(here));
  TRY(on.check_not_capturing());
  on.begin(name_of("stage", items), std::move(owner));
  return batch.enqueue(on, static_cast<const Key*>(keys_.get()));
}

Status Device::unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId id) {
  for (const port::UnstageItem& item : items) {
    TRY(port::check(item));
    if (item.digest) TRY(check_digest(item.destination, item.box, item.shape, item.dtype));
  }
  const std::lock_guard lock(mutex_);
  Stream& on = stream(id);
  Batch batch(Way::in, *allocations_, batch_memory_);
  for (const port::UnstageItem& item : items) {
    if (item.source.bytes() == 0 && !item.digest) continue;
    if (item.destination.kind == MemoryKind::host || item.source.bytes() == 0) {
      batch.on_host([item] { copy_and_digest(item.source, item.box, item.shape, item.dtype, item.destination, item.digest); });
      continue;
    }
    if (item.digest) batch.digest(item.destination, item.box, item.shape, item.dtype, item.digest);
    is_packed(item.source) ? batch.move(item.destination, item.source.data) : batch.move(item.destination, item.source);
  }
  if (batch.empty()) return {};
  OnDevice here;
  TRY(enter(here));
  TRY(on.check_not_capturing());
  on.begin(name_of("unstage", items), std::move(owner));
  return batch.enqueue(on, static_cast<const Key*>(keys_.get()));
}

Result<port::EventId> Device::record(port::StreamId id) {
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find(id);  // a user may have named it
  if (found == streams_.end())
    return fail(ErrorCode::invalid_argument, "record an event: stream {} is not open on device {}", id.value, ordinal_);
  Stream& on = *found->second;
  OnDevice here;
  TRY(enter(here));
  TRY(on.check_not_capturing());
  OwnedEvent recorded = TRY(create_event(on.site()));
  TRY(called(cudaEventRecord(recorded.get(), on.handle()), on.site(), "cudaEventRecord"));
  const port::EventId event_id{next_id_++};
  events_.emplace(event_id, Event{std::move(recorded), on.site(), on.latest_operation()});
  return event_id;
}

void Device::destroy_event(port::EventId id) {
  Ended ended;
  const std::lock_guard lock(mutex_);
  OnDevice here;
  (void)here.enter(site());
  // An event that only streams waited for has ended operations all the same.
  if (cudaEventQuery(event(id).owned.get()) == cudaSuccess) end_operations(event(id), ended);
  events_.erase(id);
}

Status Device::wait(port::StreamId id, port::EventId event_id) {
  const std::lock_guard lock(mutex_);
  Stream& on = stream(id);
  OnDevice here;
  TRY(enter(here));
  TRY(on.check_not_capturing());
  cudaEvent_t recorded = event(event_id).owned.get();
  const cudaError_t code = MUTATE("cuda.skip_wait", cudaStreamWaitEvent(on.handle(), recorded, 0), cudaSuccess);
  return called(code, on.site(), "cudaStreamWaitEvent");
}

Result<bool> Device::query(port::EventId id) {
  Ended ended;
  const std::lock_guard lock(mutex_);
  const Event& queried = event(id);
  OnDevice here;
  TRY(enter(here));
  if (MUTATE("cuda.skip_poll", false, true)) return true;
  const cudaError_t code = cudaEventQuery(queried.owned.get());
  if (code == cudaErrorNotReady) return false;
  if (MUTATE("cuda.unchecked_failure", code != cudaSuccess, code != cudaSuccess && !loses_device(code)))
    return fail(runtime_error(code, "cudaEventQuery", site(queried)));
  end_operations(queried, ended);
  drop_closed(ended);  // whose work may have ended, too, and somebody waits for what it owns
  return true;
}

Status Device::synchronize(port::EventId id, port::Deadline deadline) {
  for (port::Duration pause = poll_first; !TRY(query(id)); pause = std::min(pause * 2, poll_longest)) {
    const port::TimePoint now = clock_.now();
    if (now >= deadline.at) {
      const std::lock_guard lock(mutex_);
      const Site at = site(event(id));
      return fail(ErrorCode::timeout, "event {} on device {}, stream {} is not complete at the deadline (under way on this stream: {})",
                  id.value, ordinal_, at.stream.value, at.under_way.empty() ? "nothing" : at.under_way);
    }
    clock_.sleep_until(std::min(now + pause, deadline.at));
  }
  return {};
}

/// Uploads the A keys of the digest.
Result<DeviceMemory> upload_keys(const Site& site) {
  std::vector<Key> keys(key_period);
  for (std::uint32_t i = 0; i < key_period; ++i) keys[key_place(i)] = {{digest_key_a(0, i), digest_key_a(1, i)}};
  const std::size_t bytes = keys.size() * sizeof(keys[0]);
  DeviceMemory memory = TRY(allocate_device_memory(site, bytes));
  const OwnedStream stream = TRY(create_stream(site));
  TRY(called(cudaMemcpyAsync(memory.get(), keys.data(), bytes, cudaMemcpyDefault, stream.get()), site, "cudaMemcpyAsync({} bytes)", bytes));
  const cudaError_t waited = cudaStreamSynchronize(stream.get());
  if (waited != cudaSuccess) (void)cudaDeviceSynchronize();  // the copy may still read the keys
  TRY(called(waited, site, "cudaStreamSynchronize"));
  return memory;
}

}  // namespace
}  // namespace cuda

Result<int> cuda_device_count() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess && count > 0) return count;
  (void)cudaGetLastError();
  const std::string reason =
      code == cudaSuccess ? "0 devices" : fmt::format("{} (error {})", cudaGetErrorString(code), static_cast<int>(code));
  const bool none = code == cudaSuccess || cuda::means_no_gpu(code);
  return fail(none ? ErrorCode::unsupported : ErrorCode::io_error, "cudaGetDeviceCount: {}{}", none ? "no GPU here: " : "", reason);
}

Result<std::unique_ptr<CudaDevice>> make_cuda_device(int ordinal, port::Clock& clock) {
  const int count = TRY(cuda_device_count());
  if (ordinal < 0 || ordinal >= count) return fail(ErrorCode::invalid_argument, "CUDA device {}: this host has {}", ordinal, count);
  const cuda::Site site{ordinal};
  cuda::OnDevice here;
  TRY(here.enter(site));
  // Kernels are loaded when they are first asked for, which may wait for all that runs: so now, and not behind a trainer whose work waits for another rank.
  for (const cuda::Kernel kernel : cuda::all_kernels) {
    cudaFuncAttributes attributes;
    TRY(cuda::called(cudaFuncGetAttributes(&attributes, cuda::kernel_function(kernel)), site, "cudaFuncGetAttributes({})",
                     cuda::kernel_name(kernel)));
  }
  return std::make_unique<cuda::Device>(ordinal, clock, TRY(cuda::upload_keys(site)));
}

}  // namespace holdfast::backend
