// Inside the simulated runtime: memory, streams and their operations, and what is wrong with how they are used.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/cuda/objects.h"
#include "sim/cuda/runtime.h"

namespace holdfast::sim::cuda {

/// What a library above the runtime keeps, begun anew with it.
class Addition {
 public:
  virtual ~Addition() = default;
  /// Adds what is still open, a line each.
  virtual void report(std::vector<std::string>& lines) const = 0;
};

class State {
 public:
  State(Pick pick, Pace pace);
  ~State();

  std::uint32_t pick(std::uint32_t n) { return n <= 1 ? 0 : pick_(n); }
  Context& context() { return *context_; }
  void find(std::string what);

  /// Begins a runtime call: counts it, lets time pass, and says whether it fails.
  cudaError_t enter(const char* name, bool needs_device);
  cudaError_t lost(int device) const;
  /// The process that uses the device is gone: nothing of it runs any more, or counts as in use.
  void lose_process(int device);

  // Memory.
  cudaError_t allocate(void** memory, std::size_t bytes, bool pinned);
  cudaError_t free(void* memory, bool pinned, const char* call);
  /// Memory of the program's own becomes pinned, and is left alone otherwise.
  cudaError_t pin(void* memory, std::size_t bytes);
  cudaError_t unpin(void* memory);
  /// The allocation, freed or not, that holds the address.
  const Allocation* allocation_of(std::uintptr_t address) const;

  // Streams and events. A handle that is not open is a finding and null.
  CUstream_st* create_stream(bool blocking);
  CUevent_st* create_event();
  CUstream_st* stream(cudaStream_t handle, const char* call);
  CUevent_st* event(cudaEvent_t handle, const char* call);
  void destroy(CUstream_st& stream);

  cudaError_t enqueue(CUstream_st& on, std::string what, std::vector<Access> accesses, std::function<void()> run, Moment after = {},
                      std::function<bool()> ready = {});
  /// A queue of the simulation's own: what moves bytes between devices. Its operations race with nothing.
  CUstream_st& create_wire();
  void put(CUstream_st& wire, std::string what, std::function<void()> run);
  /// Whether it may touch that memory; if not, a finding.
  bool check_accesses(const std::string& what, const std::vector<Access>& accesses);
  bool has_run(const Moment& moment) const;
  /// Runs until the moment has passed; the caller then knows it and `ordered`.
  cudaError_t wait(const Moment& moment, const Moment& ordered, const char* call);
  void learn(const Moment& moment);
  /// Everything enqueued on the device.
  Moment all_work(int device) const;
  /// Runs one operation that may run, chosen by a pick, or none for once. False when none may.
  bool step();

  Live live() const;
  std::vector<std::string> report() const;

  struct FailingCall {
    std::string name;
    std::uint64_t after = 0;
    cudaError_t code = cudaSuccess;
    const Context* caller = nullptr;
    int caller_device = any_device;
  };
  struct FailingOperation {
    std::uint64_t after = 0;
    cudaError_t code = cudaSuccess;
    int device = any_device;
  };

  int device_count = 1;
  std::size_t memory_limit = ~std::size_t{0};
  std::optional<FailingCall> failing_call;
  std::optional<FailingOperation> failing_operation;
  std::vector<std::string> findings;
  std::map<std::string, std::uint64_t> calls;
  std::unique_ptr<Addition> nccl;
  Context own_context;
  Context* context_ = &own_context;

 private:
  bool has_room(std::size_t bytes, bool pinned) const;
  /// Finds work that may still use the allocation, then lets all work come to its end.
  void let_go(std::uintptr_t begin, const Allocation& allocation, const char* call, const char* what);
  bool is_due(const char* call);
  bool is_due(const CUstream_st& on);
  void pass_time();
  void run(CUstream_st& on);
  void check_race(const Operation& operation);
  void poison_destinations(const Operation& operation);
  bool is_pending(const Access& access) const;
  void quarantine(Allocation& allocation);

  Pick pick_;
  Pace pace_;
  bool running_ = false;  ///< inside an operation
  CUstream_st* last_run_ = nullptr;
  std::uint64_t next_id_ = 0;
  std::uint64_t destroyed_busy_ = 0;
  std::map<int, cudaError_t> lost_;
  std::map<std::uintptr_t, Allocation> memory_;        ///< freed memory stays, so that its late use is seen
  std::vector<std::unique_ptr<CUstream_st>> streams_;  ///< by id; never removed, nor are events
  std::vector<std::unique_ptr<CUevent_st>> events_;
  std::map<int, CUstream_st*> default_streams_;
  std::vector<Operation> unsynchronised_;  ///< what the host does not know to have ended; without `run`
};

State& state();

/// Lets operations touch memory that is otherwise a trap under ASan.
class Opened {
 public:
  Opened(const State& state, const std::vector<Access>& accesses);
  ~Opened();
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  std::vector<const Allocation*> opened_;
};

}  // namespace holdfast::sim::cuda
