#include "tests/gpu/gpu_ceiling.h"

#include <cuda_runtime_api.h>

#include <chrono>
#include <memory>
#include <vector>

#include "tests/bench/bench.h"

namespace holdfast::bench {
namespace {

Status done(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return {};
  return fail(ErrorCode::io_error, "{}: error {}", call, static_cast<int>(code));
}

struct Free {
  bool pinned;
  void operator()(void* memory) const { static_cast<void>(pinned ? cudaFreeHost(memory) : cudaFree(memory)); }
};
using Memory = std::unique_ptr<void, Free>;

Result<Memory> allocate(std::size_t bytes, bool pinned) {
  void* memory = nullptr;
  TRY(done(pinned ? cudaHostAlloc(&memory, bytes, cudaHostAllocDefault) : cudaMalloc(&memory, bytes),
           pinned ? "cudaHostAlloc" : "cudaMalloc"));
  return Memory(memory, Free{pinned});
}

struct DestroyStream {
  void operator()(cudaStream_t stream) const { static_cast<void>(cudaStreamDestroy(stream)); }
};

}  // namespace

Result<double> copy_seconds(Way way, std::size_t bytes, int repeats) {
  const Memory from = TRY(allocate(bytes, way == Way::in)), to = TRY(allocate(bytes, way == Way::out));
  cudaStream_t made = nullptr;
  TRY(done(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"));
  const std::unique_ptr<CUstream_st, DestroyStream> stream(made);
  // Memory that was never written may not be there.
  if (way != Way::in) TRY(done(cudaMemsetAsync(from.get(), 1, bytes, made), "cudaMemsetAsync"));
  const cudaMemcpyKind kind = way == Way::in ? cudaMemcpyHostToDevice : way == Way::out ? cudaMemcpyDeviceToHost : cudaMemcpyDeviceToDevice;
  std::vector<double> times;
  for (int repeat = -1; repeat < repeats; ++repeat) {
    TRY(done(cudaStreamSynchronize(made), "cudaStreamSynchronize"));
    const Stopwatch watch;
    TRY(done(cudaMemcpyAsync(to.get(), from.get(), bytes, kind, made), "cudaMemcpyAsync"));
    TRY(done(cudaStreamSynchronize(made), "cudaStreamSynchronize"));
    if (repeat >= 0) times.push_back(watch.wall());
  }
  return median(std::move(times));
}

}  // namespace holdfast::bench
