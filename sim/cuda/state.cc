#include "sim/cuda/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace holdfast::sim::cuda {
namespace {

constexpr int not_yet_copied = 0xDB;
constexpr std::size_t findings_max = 100;

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

State::~State() = default;

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
  const bool counts = is_of && on.kind != CUstream_st::Kind::wire;
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
  if (!captures.allow(name)) return cudaErrorStreamCaptureUnsupported;
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

cudaError_t State::allocate(void** begin, std::size_t bytes, Allocation::Kind kind) {
  const Allocation* made = memory.allocate(next_id(), bytes, kind, context().device);
  if (made == nullptr) return cudaErrorMemoryAllocation;
  *begin = made->memory.get();
  return cudaSuccess;
}

cudaError_t State::allocate_on(CUstream_st& on, const char* call, void** begin, std::size_t bytes) {
  if (on.capture) {
    find(fmt::format("{}: the simulated runtime has no graphs that allocate", call));
    return cudaErrorNotSupported;
  }
  if (const cudaError_t code = allocate(begin, bytes, Allocation::Kind::ordered); code != cudaSuccess) return code;
  const Access whole{reinterpret_cast<std::uintptr_t>(*begin), bytes, true};
  return enqueue(on, fmt::format("{}({} bytes)", call, bytes), {whole}, {});
}

void State::find_users(const char* call, const Allocation& allocation, const char* what) {
  if (lost(allocation.device) != cudaSuccess) return;
  for (const Operation& operation : unsynchronised_) {
    for (const Access& access : operation.accesses) {
      if (!access.overlaps(reinterpret_cast<std::uintptr_t>(allocation.memory.get()), allocation.bytes)) continue;
      find(fmt::format("{}: {} is {} while {} may still use it", call, name_of(allocation), what, operation.what));
    }
  }
}

cudaError_t State::free(void* begin, bool pinned, const char* call) {
  Allocation* const found = memory.beginning_at(begin);
  if (found == nullptr || found->kind == Allocation::Kind::mapped || found->kind == Allocation::Kind::registered ||
      pinned != (found->kind == Allocation::Kind::pinned)) {
    find(fmt::format("{}: the address was never allocated as such", call));
    return cudaErrorInvalidValue;
  }
  if (found->freed || found->freeing != nullptr) {
    find(fmt::format("{}: double free of {}", call, name_of(*found)));
    return cudaErrorInvalidValue;
  }
  find_users(call, *found, "freed");
  while (step()) {  // CUDA waits for the device before it frees
  }
  memory.quarantine(*found);
  return cudaSuccess;
}

cudaError_t State::pin(void* begin, std::size_t bytes) {
  if (begin == nullptr || bytes == 0) return cudaErrorInvalidValue;
  if (const Allocation* other = memory.overlapping(begin, bytes)) {
    find(fmt::format("cudaHostRegister: {} bytes overlap {}", bytes, name_of(*other)));
    return cudaErrorHostMemoryAlreadyRegistered;
  }
  return memory.pin(next_id(), begin, bytes, context().device) ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t State::unpin(void* begin) {
  Allocation* const found = memory.beginning_at(begin);
  if (found == nullptr || found->kind != Allocation::Kind::registered) {
    find("cudaHostUnregister: the address was never registered");
    return cudaErrorHostMemoryNotRegistered;
  }
  find_users("cudaHostUnregister", *found, "unregistered");
  while (step()) {  // as cudaFreeHost does
  }
  memory.unpin(*found);
  return cudaSuccess;
}

cudaError_t State::free_on(CUstream_st& on, const char* call, void* begin) {
  Allocation* const found = memory.beginning_at(begin);
  if (found == nullptr || found->kind != Allocation::Kind::ordered) {
    find(fmt::format("{}: the address was never allocated as such", call));
    return cudaErrorInvalidValue;
  }
  if (found->freed || found->freeing != nullptr) {
    find(fmt::format("{}: double free of {}", call, name_of(*found)));
    return cudaErrorInvalidValue;
  }
  const Access whole{reinterpret_cast<std::uintptr_t>(begin), found->bytes, true};
  const cudaError_t code = enqueue(on, call, {whole}, [this, found] { memory.quarantine(*found); });
  if (code == cudaSuccess) found->freeing = call;
  return code;
}

CUmemPoolHandle_st* State::create_pool(int device) {
  auto& made = pools_.emplace_back(std::make_unique<CUmemPoolHandle_st>());
  made->id = next_id();
  made->device = device;
  return made.get();
}

CUmemPoolHandle_st* State::default_pool(int device) {
  for (const auto& made : pools_) {
    if (made->is_default && made->device == device) return made.get();
  }
  CUmemPoolHandle_st* made = create_pool(device);
  made->is_default = true;
  return made;
}

CUmemPoolHandle_st* State::pool(cudaMemPool_t handle, const char* call) {
  const auto found = std::ranges::find(pools_, handle, &std::unique_ptr<CUmemPoolHandle_st>::get);
  if (found != pools_.end() && handle->open) return handle;
  find(fmt::format("{}: the pool is {}", call, found == pools_.end() ? "unknown" : "destroyed"));
  return nullptr;
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
  const bool of_thread = handle == cudaStreamPerThread;
  if (handle == nullptr || handle == cudaStreamLegacy || of_thread) {
    const int device = context().device;
    CUstream_st*& made = of_thread ? thread_streams_[{&context(), device}] : default_streams_[device];
    if (made == nullptr) {
      made = create_stream(of_thread);
      made->kind = CUstream_st::Kind::runtime;
    }
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

bool State::check_accesses(const std::string& what, const std::vector<Access>& accesses, bool enqueued) {
  bool good = true;
  for (const Access& access : accesses) {
    for (const std::string& wrong : memory.wrong(access, enqueued)) {
      find(what + " " + wrong);
      good = false;
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
  const Opened open(memory, operation.accesses);
  for (const Access& access : operation.accesses) {
    if (access.replaces && !is_pending(access)) std::memset(reinterpret_cast<void*>(access.begin), not_yet_copied, access.bytes);
  }
}

CUstream_st& State::create_wire() {
  CUstream_st* made = create_stream(false);
  made->device = any_device;
  made->kind = CUstream_st::Kind::wire;
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
  if (!check_accesses(what, accesses, true)) return cudaErrorInvalidValue;
  if (const auto taken = captures.take(on, what)) return *taken;
  Operation operation{on.id, ++on.enqueued, std::move(what), std::move(accesses), std::move(run), std::move(after), {}, std::move(ready)};
  for (const auto& other : streams_) {
    const bool ties = is_legacy(on) ? other->blocking : on.blocking && is_legacy(*other);
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
  if (lost(on.device) == cudaSuccess && operation.run && check_accesses(operation.what, operation.accesses, false)) {
    const Opened open(memory, operation.accesses);
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
  memory.count(live);
  for (const auto& stream : streams_) {
    if (stream->open && stream->kind == CUstream_st::Kind::made) ++live.streams;
    live.queued_operations += stream->queue.size();
  }
  live.events = static_cast<std::uint64_t>(std::ranges::count_if(events_, [](const auto& event) { return event->open; }));
  live.streams_destroyed_busy = destroyed_busy_;
  return live;
}

std::vector<std::string> State::report() const {
  std::vector<std::string> lines = findings;
  std::map<std::uint64_t, std::string> leaks;  // by id, so that addresses do not decide the order
  memory.add_leaks(leaks);
  for (const auto& [handle, memory_behind] : physical) {
    if (!memory_behind.released) leaks[handle] = fmt::format("leak: physical memory {} of {} bytes", handle, memory_behind.bytes);
  }
  for (const auto& pool : pools_) {
    if (pool->open && !pool->is_default) leaks[pool->id] = fmt::format("leak: pool {}", pool->id);
  }
  for (const auto& stream : streams_) {
    if (stream->open && stream->kind == CUstream_st::Kind::made) leaks[stream->id] = fmt::format("leak: stream {}", stream->id);
    if (!stream->queue.empty() && stream->kind != CUstream_st::Kind::wire)
      lines.push_back(fmt::format("{} operations on stream {} never ran", stream->queue.size(), stream->id));
  }
  for (const auto& event : events_) {
    if (event->open) leaks[event->id] = fmt::format("leak: event {}", event->id);
  }
  for (auto& [id, leak] : leaks) lines.push_back(std::move(leak));
  captures.report(lines);
  if (nccl) nccl->report(lines);
  return lines;
}

}  // namespace holdfast::sim::cuda
