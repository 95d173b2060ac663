// Inside the simulated runtime: memory, streams and their operations, and what is wrong with how they are used.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/cuda/capture.h"
#include "sim/cuda/memory.h"
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
  cudaError_t allocate(void** begin, std::size_t bytes, Allocation::Kind kind);
  cudaError_t free(void* begin, bool pinned, const char* call);
  /// Allocates, or frees, in the order of a stream.
  cudaError_t allocate_on(CUstream_st& on, const char* call, void** begin, std::size_t bytes);
  cudaError_t free_on(CUstream_st& on, const char* call, void* begin);
  /// A finding for each piece of work that the caller does not know to have ended and that uses the memory, which is `what`.
  void find_users(const char* call, const Allocation& allocation, const char* what);
  /// Memory of the program's own becomes pinned, and is left alone otherwise.
  cudaError_t pin(void* begin, std::size_t bytes);
  cudaError_t unpin(void* begin);
  std::uint64_t next_id() { return next_id_++; }
  CUmemPoolHandle_st* default_pool(int device);
  CUmemPoolHandle_st* create_pool(int device);
  CUmemPoolHandle_st* pool(cudaMemPool_t handle, const char* call);

  // Streams and events. A handle that is not open is a finding and null; null and two other values mean default streams.
  CUstream_st* create_stream(bool blocking);
  bool is_legacy(const CUstream_st& stream) const { return stream.kind == CUstream_st::Kind::runtime && !stream.blocking; }
  CUevent_st* create_event();
  CUstream_st* stream(cudaStream_t handle, const char* call);
  CUevent_st* event(cudaEvent_t handle, const char* call);
  void destroy(CUstream_st& stream);

  cudaError_t enqueue(CUstream_st& on, std::string what, std::vector<Access> accesses, std::function<void()> run, Moment after = {},
                      std::function<bool()> ready = {});
  /// A queue of the simulation's own: what moves bytes between devices. Its operations race with nothing.
  CUstream_st& create_wire();
  void put(CUstream_st& wire, std::string what, std::function<void()> run);
  /// Whether it may touch that memory now that it is enqueued, or later, when it runs; if not, a finding.
  bool check_accesses(const std::string& what, const std::vector<Access>& accesses, bool enqueued);
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
  Memory memory;
  Captures captures{*this};
  std::map<std::uint64_t, PhysicalMemory> physical;  ///< by handle
  std::optional<FailingCall> failing_call;
  std::optional<FailingOperation> failing_operation;
  std::vector<std::string> findings;
  std::map<std::string, std::uint64_t> calls;
  std::unique_ptr<Addition> nccl;
  Context own_context;
  Context* context_ = &own_context;

 private:
  bool is_due(const char* call);
  bool is_due(const CUstream_st& on);
  void pass_time();
  void run(CUstream_st& on);
  void check_race(const Operation& operation);
  void poison_destinations(const Operation& operation);
  bool is_pending(const Access& access) const;

  Pick pick_;
  Pace pace_;
  bool running_ = false;  ///< inside an operation
  CUstream_st* last_run_ = nullptr;
  std::uint64_t next_id_ = 0;
  std::uint64_t destroyed_busy_ = 0;
  std::map<int, cudaError_t> lost_;
  std::vector<std::unique_ptr<CUstream_st>> streams_;  ///< by id; never removed, nor are events
  std::vector<std::unique_ptr<CUevent_st>> events_;
  std::map<int, CUstream_st*> default_streams_;                            ///< legacy ones, by device
  std::map<std::pair<const Context*, int>, CUstream_st*> thread_streams_;  ///< looked up only
  std::vector<std::unique_ptr<CUmemPoolHandle_st>> pools_;
  std::vector<Operation> unsynchronised_;  ///< what the host does not know to have ended; without `run`
};

State& state();

}  // namespace holdfast::sim::cuda
