// The entry points, with the names and signatures of cuda_runtime_api.h. One that is missing here is an error of the linker.
#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "sim/cuda/entry.h"
#include "sim/cuda/twins.h"

namespace holdfast::sim::cuda {

cudaError_t remember(cudaError_t code) {
  if (code != cudaSuccess && code != cudaErrorNotReady) state().context().last_error = code;
  return code;
}

cudaError_t unsupported(const char* name, const char* what) {
  state().find(fmt::format("{}: the simulated runtime has no {}", name, what));
  return cudaErrorNotSupported;
}

namespace {

std::uintptr_t address(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

/// The accesses of a copy, a row each. `kind` decides what must be device memory.
std::vector<Access> copy_accesses(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                                  std::size_t rows, cudaMemcpyKind kind) {
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  std::vector<Access> accesses;
  for (std::size_t row = 0; row < rows && width != 0; ++row) {
    accesses.push_back({address(from) + row * from_pitch, width, false, from_device, false});
    accesses.push_back({address(to) + row * to_pitch, width, true, to_device, true});
  }
  return accesses;
}

cudaError_t copy(State& state, const char* name, void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                 std::size_t width, std::size_t rows, cudaMemcpyKind kind, cudaStream_t stream) {
  CUstream_st* on = state.stream(stream, name);
  if (on == nullptr) return cudaErrorInvalidResourceHandle;
  if (rows > 1 && (width > to_pitch || width > from_pitch)) return cudaErrorInvalidPitchValue;
  const auto move_rows = [=](char* into, std::size_t into_pitch, const char* out_of, std::size_t out_of_pitch) {
    for (std::size_t row = 0; row < rows; ++row) std::memcpy(into + row * into_pitch, out_of + row * out_of_pitch, width);
  };
  const bool from_pageable = state.memory.is_pageable(address(from)), to_pageable = state.memory.is_pageable(address(to));
  std::function<void()> run = [=] { move_rows(static_cast<char*>(to), to_pitch, static_cast<const char*>(from), from_pitch); };
  if (from_pageable && !to_pageable && kind != cudaMemcpyDeviceToHost && kind != cudaMemcpyDeviceToDevice) {
    // The call takes the bytes to memory of CUDA's own, and the copy goes on from there.
    const auto taken = std::make_shared<std::vector<char>>(rows * width);
    move_rows(taken->data(), width, static_cast<const char*>(from), from_pitch);
    run = [=] { move_rows(static_cast<char*>(to), to_pitch, taken->data(), width); };
  }
  const cudaError_t code = state.enqueue(*on, fmt::format("{}({} x {} bytes)", name, rows, width),
                                         copy_accesses(to, to_pitch, from, from_pitch, width, rows, kind), run);
  // Into pageable memory the call is over when the copy is.
  return code == cudaSuccess && to_pageable ? state.wait({{on->id, on->enqueued}}, on->ordered, name) : code;
}

const char* text_of(cudaError_t code) {
  switch (code) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidPitchValue: return "invalid pitch argument";
    case cudaErrorOperatingSystem: return "OS call failed or operation not supported on this OS";
    case cudaErrorHostMemoryAlreadyRegistered: return "part or all of the requested memory range is already mapped";
    case cudaErrorHostMemoryNotRegistered: return "pointer does not correspond to a registered memory region";
    case cudaErrorStubLibrary: return "CUDA driver is a stub library";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorInvalidDeviceFunction: return "invalid device function";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorECCUncorrectable: return "uncorrectable ECC error encountered";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchTimeout: return "the launch timed out and was terminated";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorNotPermitted: return "operation not permitted";
    case cudaErrorNotSupported: return "operation not supported";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureImplicit: return "operation would make the legacy stream depend on a capturing blocking stream";
    case cudaErrorStreamCaptureWrongThread: return "attempt to terminate a thread-local capture sequence from another thread";
    case cudaErrorIllegalState: return "the operation cannot be performed in the present state";
    default: return "unknown error";
  }
}

}  // namespace
}  // namespace holdfast::sim::cuda

using namespace holdfast::sim::cuda;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return call_always("cudaGetDeviceCount", false, [&](State& state) {
    *count = state.device_count;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return call_always("cudaGetDevice", false, [&](State& state) {
    *device = state.context().device;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call_always("cudaGetDeviceProperties", false, [&](State& state) {
    if (device < 0 || device >= state.device_count) return cudaErrorInvalidDevice;
    *properties = {};
    std::strcpy(properties->name, "simulated");
    properties->totalGlobalMem = std::size_t{1} << 30;
    properties->major = 9;
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  return call_always("cudaDriverGetVersion", false, [&](State&) {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return call_always("cudaRuntimeGetVersion", false, [&](State&) {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return call_always("cudaSetDevice", false, [&](State& state) {
    if (device < 0 || device >= state.device_count) return cudaErrorInvalidDevice;
    state.context().device = device;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call_always("cudaDeviceGetAttribute", false, [&](State& state) {
    constexpr int host_numa_id = 134;
    if (device < 0 || device >= state.device_count) return cudaErrorInvalidDevice;
    if (attribute != host_numa_id) return unsupported("cudaDeviceGetAttribute", "attribute but the NUMA node");
    *value = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call("cudaDeviceSynchronize", [&](State& state) {
    const Moment all = state.all_work(state.context().device);
    return state.wait(all, all, "cudaDeviceSynchronize");
  });
}

cudaError_t cudaGetLastError() { return static_cast<cudaError_t>(std::exchange(state().context().last_error, cudaSuccess)); }
cudaError_t cudaPeekAtLastError() { return static_cast<cudaError_t>(state().context().last_error); }
const char* cudaGetErrorString(cudaError_t code) { return text_of(code); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call("cudaStreamCreateWithFlags", [&](State& state) {
    *stream = state.create_stream((flags & cudaStreamNonBlocking) == 0);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call_always("cudaStreamDestroy", true, [&](State& state) {
    CUstream_st* open = state.stream(stream, "cudaStreamDestroy");
    if (open == nullptr || open->kind != CUstream_st::Kind::made) return cudaErrorInvalidResourceHandle;
    if (open->capture) return state.captures.conflict(*open, "cudaStreamDestroy");
    state.destroy(*open);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call("cudaStreamSynchronize", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaStreamSynchronize");
    if (on == nullptr) return cudaErrorInvalidResourceHandle;
    if (on->capture) return state.captures.conflict(*on, "cudaStreamSynchronize");
    return state.wait({{on->id, on->enqueued}}, on->ordered, "cudaStreamSynchronize");
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return call("cudaStreamWaitEvent", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaStreamWaitEvent");
    const CUevent_st* waited = state.event(event, "cudaStreamWaitEvent");
    if (on == nullptr || waited == nullptr) return cudaErrorInvalidResourceHandle;
    if (waited->captured_on != nullptr && waited->captured_on != on)
      return unsupported("cudaStreamWaitEvent", "capture that goes over to another stream");
    advance(on->ordered, waited->ordered);
    return state.enqueue(*on, "cudaStreamWaitEvent", {}, {}, waited->after);
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call("cudaStreamBeginCapture", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaStreamBeginCapture");
    return on == nullptr ? cudaErrorInvalidResourceHandle : state.captures.begin(*on, mode);
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call("cudaStreamEndCapture", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaStreamEndCapture");
    return on == nullptr ? cudaErrorInvalidResourceHandle : state.captures.end(*on, graph);
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return call("cudaStreamIsCapturing", [&](State& state) {
    const CUstream_st* on = state.stream(stream, "cudaStreamIsCapturing");
    return on == nullptr ? cudaErrorInvalidResourceHandle : state.captures.status(*on, status);
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return call_always("cudaThreadExchangeStreamCaptureMode", false, [&](State& state) {
    *mode = static_cast<cudaStreamCaptureMode>(std::exchange(state.context().capture_mode, static_cast<int>(*mode)));
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  return call("cudaGraphGetNodes", [&](State& state) {
    const CUgraph_st* open = state.captures.graph(graph, "cudaGraphGetNodes");
    if (open == nullptr) return cudaErrorInvalidResourceHandle;
    if (nodes != nullptr) return unsupported("cudaGraphGetNodes", "nodes that can be looked at");
    *count = open->operations;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call_always("cudaGraphDestroy", true, [&](State& state) {
    CUgraph_st* open = state.captures.graph(graph, "cudaGraphDestroy");
    if (open == nullptr) return cudaErrorInvalidResourceHandle;
    open->open = false;
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call("cudaEventCreateWithFlags", [&](State& state) {
    if ((flags & cudaEventInterprocess) != 0) return unsupported("cudaEventCreateWithFlags", "events between processes");
    *event = state.create_event();
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call_always("cudaEventDestroy", true, [&](State& state) {
    CUevent_st* open = state.event(event, "cudaEventDestroy");
    if (open == nullptr) return cudaErrorInvalidResourceHandle;
    open->open = false;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call("cudaEventRecord", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaEventRecord");
    CUevent_st* recorded = state.event(event, "cudaEventRecord");
    if (on == nullptr || recorded == nullptr) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t code = state.enqueue(*on, "cudaEventRecord", {}, {}); code != cudaSuccess) return code;
    recorded->captured_on = on->capture ? on : nullptr;
    recorded->after = {{on->id, on->enqueued}};
    recorded->ordered = on->ordered;
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call("cudaEventQuery", [&](State& state) {
    const CUevent_st* queried = state.event(event, "cudaEventQuery");
    if (queried == nullptr) return cudaErrorInvalidResourceHandle;
    if (queried->captured_on != nullptr) return state.captures.conflict(*queried->captured_on, "cudaEventQuery");
    if (state.has_run(queried->after)) return state.wait(queried->after, queried->ordered, "cudaEventQuery");
    (void)state.step();  // who polls for long enough sees the end
    return cudaErrorNotReady;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call("cudaEventSynchronize", [&](State& state) {
    const CUevent_st* waited = state.event(event, "cudaEventSynchronize");
    if (waited == nullptr) return cudaErrorInvalidResourceHandle;
    if (waited->captured_on != nullptr) return state.captures.conflict(*waited->captured_on, "cudaEventSynchronize");
    return state.wait(waited->after, waited->ordered, "cudaEventSynchronize");
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call("cudaMemcpyAsync",
              [&](State& state) { return copy(state, "cudaMemcpyAsync", to, bytes, from, bytes, bytes, 1, kind, stream); });
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width, std::size_t rows,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  return call("cudaMemcpy2DAsync",
              [&](State& state) { return copy(state, "cudaMemcpy2DAsync", to, to_pitch, from, from_pitch, width, rows, kind, stream); });
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  return call("cudaMemsetAsync", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaMemsetAsync");
    if (on == nullptr) return cudaErrorInvalidResourceHandle;
    return state.enqueue(*on, fmt::format("cudaMemsetAsync({} bytes)", bytes), {{address(memory), bytes, true, true, true}},
                         [=] { std::memset(memory, value, bytes); });
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* argument) {
  return call("cudaLaunchHostFunc", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaLaunchHostFunc");
    if (on == nullptr) return cudaErrorInvalidResourceHandle;
    return state.enqueue(*on, "cudaLaunchHostFunc", {}, [=] { function(argument); });
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return call("cudaFuncGetAttributes", [&](State&) {
    *attributes = {};
    return find_twin(function) == nullptr ? cudaErrorInvalidDeviceFunction : cudaSuccess;
  });
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes, cudaStream_t stream) {
  return call("cudaLaunchKernel", [&](State& state) {
    CUstream_st* on = state.stream(stream, "cudaLaunchKernel");
    if (on == nullptr) return cudaErrorInvalidResourceHandle;
    const Twin* twin = find_twin(function);
    if (twin == nullptr) {
      state.find("cudaLaunchKernel: no twin of that kernel");
      return cudaErrorInvalidDeviceFunction;
    }
    const bool one_dimensional = grid.y == 1 && grid.z == 1 && block.y == 1 && block.z == 1;
    if (!one_dimensional || grid.x == 0 || block.x != twin->block_threads || shared_bytes != 0) {
      state.find(fmt::format("cudaLaunchKernel: kernel {} in a grid that its twin does not know", twin->name));
      return cudaErrorInvalidConfiguration;
    }
    // The argument is captured now, as on a GPU.
    const auto* bytes = static_cast<const std::byte*>(arguments[0]);
    const auto argument = std::make_shared<const std::vector<std::byte>>(bytes, bytes + twin->argument_bytes);
    return state.enqueue(*on, fmt::format("kernel {}", twin->name), twin->accesses(argument->data()),
                         [twin, argument, blocks = grid.x, &state] { twin->run(blocks, argument->data(), state); });
  });
}

}  // extern "C"
