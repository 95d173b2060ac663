#include "sim/cuda/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define HOLDFAST_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOLDFAST_ASAN
#endif
#endif
#ifdef HOLDFAST_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace holdfast::sim::cuda {
namespace {

constexpr int fresh_device = 0xCD, fresh_pinned = 0xEE, not_yet_copied = 0xDB, freed = 0xDD;
constexpr std::size_t findings_max = 100;

void trap(const Allocation& allocation, bool on) {
#ifdef HOLDFAST_ASAN
  if (on) {
    __asan_poison_memory_region(allocation.memory.get(), allocation.bytes);
  } else {
    __asan_unpoison_memory_region(allocation.memory.get(), allocation.bytes);
  }
#else
  (void)allocation;
  (void)on;
#endif
}

std::string name_of(const Allocation& allocation) {
  const char* const kind = allocation.registered ? "registered" : allocation.pinned ? "pinned" : "device";
  return fmt::format("{} allocation {} of {} bytes", kind, allocation.id, allocation.bytes);
}

/// Of the errors that can be made to happen, those after which CUDA runs nothing on the device any more.
bool loses_device(cudaError_t code) {
  return code == cudaErrorECCUncorrectable || code == cudaErrorLaunchFailure || code == cudaErrorIllegalAddress;
}

}  // namespace

void advance(Moment& moment, const Moment& by) {
  for (const auto& [stream, number] : by) moment[stream] = std::max(moment[stream], number);
}

State::State(Pick pick, Pace pace) : pick_(std::move(pick)), pace_(pace) {
  if (pace_ == Pace::any) pace_ = static_cast<Pace>(1 + this->pick(3));
}

State::~State() {
  for (const auto& [address, allocation] : memory_) trap(allocation, false);
}

void State::find(std::string what) {
  if (findings.size() < findings_max && std::ranges::find(findings, what) == findings.end()) findings.push_back(std::move(what));
}

cudaError_t State::lost(int device) const {
  const auto found = lost_.find(device);
  return found == lost_.end() ? cudaSuccess : found->second;
}

void State::lose_process(int device) {
  lost_[device] = cudaErrorLaunchFailure;
  for (const auto& stream : streams_) {
    if (stream->device != device) continue;
    std::erase_if(unsynchronised_, [&](const Operation& operation) { return operation.stream == stream->id; });
    stream->queue.clear();
    stream->done = stream->enqueued;
  }
}

bool State::is_due(const char* call) {
  const bool counts = failing_call && (failing_call->name.empty() || failing_call->name == call) &&
                      (failing_call->caller == nullptr || failing_call->caller == context_);
  return counts && failing_call->after-- == 0;
}

bool State::is_due(const CUstream_st& on) {
  const bool is_of = failing_operation && (failing_operation->device == any_device || failing_operation->device == on.device);
  const bool counts = is_of && !on.is_wire;
  return counts && failing_operation->after-- == 0;
}

cudaError_t State::enter(const char* name, bool needs_device) {
  ++calls[name];
  if (running_) {
    find(fmt::format("{}: called from a host function", name));
    return cudaErrorNotPermitted;
  }
  if (is_due(name)) {
    const FailingCall failing = *std::exchange(failing_call, std::nullopt);
    const int device = failing.caller_device == any_device && needs_device ? context().device : failing.caller_device;
    if (device != any_device && loses_device(failing.code)) lost_[device] = failing.code;
    return failing.code;
  }
  pass_time();
  return needs_device ? lost(context().device) : cudaSuccess;
}

void State::pass_time() {
  if (pace_ == Pace::eager) {
    while (step()) {
    }
  } else if (pace_ == Pace::mixed) {
    for (std::uint32_t steps = pick(4); steps != 0 && step(); --steps) {
    }
  }
}

bool State::has_room(std::size_t bytes, bool pinned) const {
  std::size_t used = bytes;
  for (const auto& [address, other] : memory_) {
    if (!other.freed && other.pinned == pinned && (pinned || other.device == context_->device)) used += other.bytes;
  }
  return used <= memory_limit;
}

cudaError_t State::allocate(void** memory, std::size_t bytes, bool pinned) {
  const int device = context().device;
  if (!has_room(bytes, pinned)) return cudaErrorMemoryAllocation;
  Allocation made;
  made.id = next_id_++;
  made.bytes = bytes;
  made.pinned = pinned;
  made.device = device;
  made.memory.reset(static_cast<std::byte*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)));
  if (made.memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(made.memory.get(), pinned ? fresh_pinned : fresh_device, bytes);
  if (!pinned) trap(made, true);
  *memory = made.memory.get();
  memory_.insert_or_assign(reinterpret_cast<std::uintptr_t>(*memory), std::move(made));
  return cudaSuccess;
}

cudaError_t State::free(void* memory, bool pinned, const char* call) {
  const auto found = memory_.find(reinterpret_cast<std::uintptr_t>(memory));
  if (found == memory_.end() || found->second.pinned != pinned || found->second.registered) {
    find(fmt::format("{}: the address was never allocated as such", call));
    return cudaErrorInvalidValue;
  }
  Allocation& allocation = found->second;
  if (allocation.freed) {
    find(fmt::format("{}: double free of {}", call, name_of(allocation)));
    return cudaErrorInvalidValue;
  }
  let_go(found->first, allocation, call, "freed");
  quarantine(allocation);
  return cudaSuccess;
}

void State::let_go(std::uintptr_t begin, const Allocation& allocation, const char* call, const char* what) {
  const bool may_run = lost(allocation.device) == cudaSuccess;
  for (const Operation& operation : unsynchronised_) {
    for (const Access& access : operation.accesses) {
      if (!may_run || !access.overlaps(begin, allocation.bytes)) continue;
      find(fmt::format("{}: {} is {} while {} may still use it", call, name_of(allocation), what, operation.what));
    }
  }
  while (step()) {  // CUDA waits for the device before it frees
  }
}

cudaError_t State::pin(void* memory, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  if (memory == nullptr || bytes == 0) return cudaErrorInvalidValue;
  const auto after = memory_.lower_bound(begin + bytes);
  if (after != memory_.begin()) {
    const auto& [address, other] = *std::prev(after);
    if (address + other.bytes > begin) {
      find(fmt::format("cudaHostRegister: {} bytes overlap {}", bytes, name_of(other)));
      return cudaErrorHostMemoryAlreadyRegistered;
    }
  }
  if (!has_room(bytes, true)) return cudaErrorMemoryAllocation;
  Allocation made;
  made.id = next_id_++;
  made.bytes = bytes;
  made.pinned = made.registered = true;
  made.device = context().device;
  made.memory = {static_cast<std::byte*>(memory), [](void*) {}};
  memory_.insert_or_assign(begin, std::move(made));
  return cudaSuccess;
}

cudaError_t State::unpin(void* memory) {
  const auto found = memory_.find(reinterpret_cast<std::uintptr_t>(memory));
  if (found == memory_.end() || !found->second.registered) {
    find("cudaHostUnregister: the address was never registered");
    return cudaErrorHostMemoryNotRegistered;
  }
  let_go(found->first, found->second, "cudaHostUnregister", "unregistered");
  memory_.erase(found);  // the program may unmap it now
  return cudaSuccess;
}

void State::quarantine(Allocation& allocation) {
  trap(allocation, false);
  std::memset(allocation.memory.get(), freed, allocation.bytes);
  trap(allocation, true);
  allocation.freed = true;
}

const Allocation* State::allocation_of(std::uintptr_t address) const {
  auto after = memory_.upper_bound(address);
  if (after == memory_.begin()) return nullptr;
  const auto& [begin, allocation] = *--after;
  return address < begin + allocation.bytes ? &allocation : nullptr;
}

CUstream_st* State::create_stream(bool blocking) {
  auto& made = streams_.emplace_back(std::make_unique<CUstream_st>());
  made->id = next_id_++;
  made->device = context().device;
  made->blocking = blocking;
  return made.get();
}

CUevent_st* State::create_event() {
  auto& made = events_.emplace_back(std::make_unique<CUevent_st>());
  made->id = next_id_++;
  made->device = context().device;
  return made.get();
}

CUstream_st* State::stream(cudaStream_t handle, const char* call) {
  if (handle == nullptr) {
    CUstream_st*& made = default_streams_[context().device];
    if (made == nullptr) made = create_stream(false);
    return made;
  }
  const auto found = std::ranges::find(streams_, handle, &std::unique_ptr<CUstream_st>::get);
  if (found != streams_.end() && handle->open) return handle;
  find(fmt::format("{}: the stream is {}", call, found == streams_.end() ? "unknown" : "destroyed"));
  return nullptr;
}

CUevent_st* State::event(cudaEvent_t handle, const char* call) {
  const auto found = std::ranges::find(events_, handle, &std::unique_ptr<CUevent_st>::get);
  if (found != events_.end() && handle->open) return handle;
  find(fmt::format("{}: the event is {}", call, found == events_.end() ? "unknown" : "destroyed"));
  return nullptr;
}

void State::destroy(CUstream_st& stream) {
  stream.open = false;
  if (!stream.queue.empty()) ++destroyed_busy_;
}

bool State::check_accesses(const std::string& what, const std::vector<Access>& accesses) {
  bool good = true;
  const auto bad = [&](std::string finding) {
    find(std::move(finding));
    good = false;
  };
  for (const Access& access : accesses) {
    const Allocation* allocation = allocation_of(access.begin);
    if (allocation == nullptr) {
      if (access.on_device) bad(fmt::format("{} touches memory that is neither device nor pinned memory", what));
      continue;
    }
    const std::size_t offset = access.begin - reinterpret_cast<std::uintptr_t>(allocation->memory.get());
    if (allocation->freed) bad(fmt::format("{} uses {} after it was freed", what, name_of(*allocation)));
    if (offset + access.bytes > allocation->bytes) {
      bad(fmt::format("{} touches bytes [{}, {}) of {}", what, offset, offset + access.bytes, name_of(*allocation)));
    }
  }
  return good;
}

void State::check_race(const Operation& operation) {
  for (const Operation& other : unsynchronised_) {
    const auto known = operation.ordered.find(other.stream);
    if (other.stream == operation.stream || (known != operation.ordered.end() && known->second >= other.number)) continue;
    for (const Access& a : operation.accesses) {
      for (const Access& b : other.accesses) {
        if ((!a.writes && !b.writes) || !a.overlaps(b.begin, b.bytes)) continue;
        find(fmt::format("race: nothing orders {} on stream {} and {} on stream {}, which touch the same memory", other.what, other.stream,
                         operation.what, operation.stream));
      }
    }
  }
}

bool State::is_pending(const Access& access) const {
  return std::ranges::any_of(streams_, [&](const auto& stream) {
    return std::ranges::any_of(stream->queue, [&](const Operation& operation) {
      return std::ranges::any_of(operation.accesses, [&](const Access& other) { return access.overlaps(other.begin, other.bytes); });
    });
  });
}

void State::poison_destinations(const Operation& operation) {
  const Opened open(*this, operation.accesses);
  for (const Access& access : operation.accesses) {
    if (access.replaces && !is_pending(access)) std::memset(reinterpret_cast<void*>(access.begin), not_yet_copied, access.bytes);
  }
}

CUstream_st& State::create_wire() {
  CUstream_st* made = create_stream(false);
  made->device = any_device;
  made->is_wire = true;
  made->open = false;
  return *made;
}

void State::put(CUstream_st& wire, std::string what, std::function<void()> run) {
  const std::uint32_t dawdles = pick(4) == 0 ? pick(200) : 0;
  wire.queue.push_back({wire.id, ++wire.enqueued, std::move(what), {}, std::move(run), {}, {}, {}, dawdles});
}

cudaError_t State::enqueue(CUstream_st& on, std::string what, std::vector<Access> accesses, std::function<void()> run, Moment after,
                           std::function<bool()> ready) {
  if (on.device != context().device) {
    find(fmt::format("{}: the stream is of device {}, the current device is {}", what, on.device, context().device));
    return cudaErrorInvalidResourceHandle;
  }
  if (!check_accesses(what, accesses)) return cudaErrorInvalidValue;
  Operation operation{on.id, ++on.enqueued, std::move(what), std::move(accesses), std::move(run), std::move(after), {}, std::move(ready)};
  const bool is_default = default_streams_.contains(on.device) && default_streams_.at(on.device) == &on;
  for (const auto& other : streams_) {
    const bool ties =
        is_default ? other->blocking : on.blocking && default_streams_.contains(on.device) && other.get() == default_streams_.at(on.device);
    if (ties && other->device == on.device && other->enqueued != 0) {
      operation.after[other->id] = std::max(operation.after[other->id], other->enqueued);
      advance(on.ordered, other->ordered);
      advance(on.ordered, {{other->id, other->enqueued}});
    }
  }
  advance(on.ordered, context().completed);
  operation.ordered = on.ordered;
  on.ordered[on.id] = operation.number;
  check_race(operation);
  poison_destinations(operation);
  if (!operation.accesses.empty()) {
    unsynchronised_.push_back({operation.stream, operation.number, operation.what, operation.accesses, {}, {}, {}});
  }
  on.queue.push_back(std::move(operation));
  pass_time();
  return cudaSuccess;
}

bool State::has_run(const Moment& moment) const {
  return std::ranges::all_of(moment, [&](const auto& point) {
    const auto found = std::ranges::find_if(streams_, [&](const auto& stream) { return stream->id == point.first; });
    return found == streams_.end() || (*found)->done >= point.second;
  });
}

bool State::step() {
  std::vector<CUstream_st*> ready;
  bool dawdling = false;
  for (const auto& stream : streams_) {
    if (stream->queue.empty()) continue;
    Operation& next = stream->queue.front();
    if (!has_run(next.after) || (next.ready && !next.ready())) continue;
    if (next.dawdles == 0) {
      ready.push_back(stream.get());
    } else {
      --next.dawdles;
      dawdling = true;
    }
  }
  if (ready.empty()) return dawdling;
  // Mostly the same stream goes on, so that the others starve: what lacks a wait then reads too early.
  const auto last = std::ranges::find(ready, last_run_);
  last_run_ = last != ready.end() && pick(4) != 0 ? *last : ready[pick(static_cast<std::uint32_t>(ready.size()))];
  run(*last_run_);
  return true;
}

void State::run(CUstream_st& on) {
  const Operation operation = std::move(on.queue.front());
  on.queue.pop_front();
  if (is_due(on)) {
    lost_[on.device] = failing_operation->code;
    failing_operation.reset();
  }
  if (lost(on.device) == cudaSuccess && operation.run && check_accesses(operation.what, operation.accesses)) {
    const Opened open(*this, operation.accesses);
    running_ = true;
    operation.run();
    running_ = false;
  }
  on.done = operation.number;
}

void State::learn(const Moment& moment) {
  advance(context().completed, moment);
  std::erase_if(unsynchronised_, [&](const Operation& operation) {
    const auto known = context().completed.find(operation.stream);
    return known != context().completed.end() && known->second >= operation.number;
  });
}

cudaError_t State::wait(const Moment& moment, const Moment& ordered, const char* call) {
  while (!has_run(moment)) {
    if (step()) continue;
    find(fmt::format("{}: deadlock, no stream can go on", call));
    return cudaErrorLaunchTimeout;
  }
  if (const cudaError_t code = lost(context().device); code != cudaSuccess) return code;
  learn(moment);
  learn(ordered);
  return cudaSuccess;
}

Moment State::all_work(int device) const {
  Moment moment;
  for (const auto& stream : streams_) {
    if (stream->device == device && stream->enqueued != 0) moment[stream->id] = stream->enqueued;
  }
  return moment;
}

Live State::live() const {
  Live live;
  for (const auto& [address, allocation] : memory_) {
    if (!allocation.freed) ++(allocation.pinned ? live.pinned_allocations : live.device_allocations);
  }
  for (const auto& stream : streams_) {
    const bool is_default = default_streams_.contains(stream->device) && default_streams_.at(stream->device) == stream.get();
    if (stream->open && !is_default) ++live.streams;
    live.queued_operations += stream->queue.size();
  }
  live.events = static_cast<std::uint64_t>(std::ranges::count_if(events_, [](const auto& event) { return event->open; }));
  live.streams_destroyed_busy = destroyed_busy_;
  return live;
}

std::vector<std::string> State::report() const {
  std::vector<std::string> lines = findings;
  std::map<std::uint64_t, std::string> leaks;  // by id, so that addresses do not decide the order
  for (const auto& [address, allocation] : memory_) {
    if (!allocation.freed) leaks[allocation.id] = fmt::format("leak: {}", name_of(allocation));
  }
  for (const auto& stream : streams_) {
    const bool is_default = default_streams_.contains(stream->device) && default_streams_.at(stream->device) == stream.get();
    if (stream->open && !is_default) leaks[stream->id] = fmt::format("leak: stream {}", stream->id);
    if (!stream->queue.empty() && !stream->is_wire)
      lines.push_back(fmt::format("{} operations on stream {} never ran", stream->queue.size(), stream->id));
  }
  for (const auto& event : events_) {
    if (event->open) leaks[event->id] = fmt::format("leak: event {}", event->id);
  }
  for (auto& [id, leak] : leaks) lines.push_back(std::move(leak));
  if (nccl) nccl->report(lines);
  return lines;
}

Opened::Opened(const State& state, const std::vector<Access>& accesses) {
  for (const Access& access : accesses) {
    const Allocation* allocation = state.allocation_of(access.begin);
    if (allocation == nullptr || allocation->pinned || allocation->freed) continue;
    trap(*allocation, false);
    opened_.push_back(allocation);
  }
}

Opened::~Opened() {
  for (const Allocation* allocation : opened_) trap(*allocation, true);
}

}  // namespace holdfast::sim::cuda
