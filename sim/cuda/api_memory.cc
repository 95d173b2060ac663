// The entry points that allocate and free: at once, or in the order of a stream.
#include <fmt/format.h>

#include "sim/cuda/entry.h"

using namespace holdfast::sim::cuda;

extern "C" {

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return call("cudaMalloc", [&](State& state) { return state.allocate(memory, bytes, Allocation::Kind::device); });
}

cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags) {
  return call("cudaHostAlloc", [&](State& state) {
    if (flags != cudaHostAllocDefault && flags != cudaHostAllocPortable)
      return unsupported("cudaHostAlloc", "mapped or write-combined memory");
    return state.allocate(memory, bytes, Allocation::Kind::pinned);
  });
}

cudaError_t cudaFree(void* memory) {
  return call_always("cudaFree", true,
                     [&](State& state) { return memory == nullptr ? cudaSuccess : state.free(memory, false, "cudaFree"); });
}

cudaError_t cudaFreeHost(void* memory) {
  return call_always("cudaFreeHost", true,
                     [&](State& state) { return memory == nullptr ? cudaSuccess : state.free(memory, true, "cudaFreeHost"); });
}

cudaError_t cudaHostRegister(void* memory, std::size_t bytes, unsigned flags) {
  return call("cudaHostRegister", [&](State& state) {
    if (flags != cudaHostRegisterDefault && flags != cudaHostRegisterPortable)
      return unsupported("cudaHostRegister", "mapped, input-output or read-only memory");
    return state.pin(memory, bytes);
  });
}

cudaError_t cudaHostUnregister(void* memory) {
  return call_always("cudaHostUnregister", true, [&](State& state) { return state.unpin(memory); });
}

cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  return call("cudaMallocAsync", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaMallocAsync");
    return on == nullptr ? cudaErrorInvalidResourceHandle : state.allocate_on(*on, "cudaMallocAsync", memory, bytes);
  });
}

cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  return call("cudaMallocFromPoolAsync", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaMallocFromPoolAsync");
    const CUmemPoolHandle_st* from = state.pool(pool, "cudaMallocFromPoolAsync");
    if (on == nullptr || from == nullptr) return cudaErrorInvalidResourceHandle;
    if (from->device != on->device) return unsupported("cudaMallocFromPoolAsync", "pools of another device than the stream's");
    return state.allocate_on(*on, "cudaMallocFromPoolAsync", memory, bytes);
  });
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  return call("cudaFreeAsync", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaFreeAsync");
    return on == nullptr ? cudaErrorInvalidResourceHandle : state.free_on(*on, "cudaFreeAsync", memory);
  });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return call("cudaDeviceGetDefaultMemPool", [&](State& state) {
    if (device < 0 || device >= state.device_count) return cudaErrorInvalidDevice;
    *pool = state.default_pool(device);
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  return call("cudaMemPoolCreate", [&](State& state) {
    const int device = properties->location.id;
    if (properties->location.type != cudaMemLocationTypeDevice || properties->allocType != cudaMemAllocationTypePinned)
      return unsupported("cudaMemPoolCreate", "pools but of a device");
    if (device < 0 || device >= state.device_count) return cudaErrorInvalidDevice;
    *pool = state.create_pool(device);
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  return call_always("cudaMemPoolDestroy", true, [&](State& state) {
    CUmemPoolHandle_st* open = state.pool(pool, "cudaMemPoolDestroy");
    if (open == nullptr || open->is_default) return cudaErrorInvalidValue;
    open->open = false;
    return cudaSuccess;
  });
}

}  // extern "C"
