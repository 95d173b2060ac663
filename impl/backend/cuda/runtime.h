// The CUDA runtime in our terms: its errors as Status, its objects with owners. A view of one is the plain handle.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "impl/core/error.h"
#include "impl/port/device.h"

namespace holdfast::backend::cuda {

/// True when, after this error, CUDA answers every later call of the process on that device with it.
bool loses_device(cudaError_t code);
/// True when the runtime says that there is no GPU, or no driver for it, rather than that something failed.
bool means_no_gpu(cudaError_t code);

/// Where a call is made, for its error.
struct Site {
  int device = 0;
  port::StreamId stream = {};
  std::string under_way = {};   ///< what the stream was given last, and may not have ended
  std::string* lost = nullptr;  ///< gets the first error that lost the device
};

/// "CALL on device 0, stream 3: out of memory" as an Error; without a stream where stream.value < 0. Clears the runtime's last error.
Error runtime_error(cudaError_t code, std::string_view call, const Site& site);

/// OK, or the error of `code`.
template <typename... Args>
Status called(cudaError_t code, const Site& site, fmt::format_string<Args...> call, Args&&... args) {
  if (code == cudaSuccess) return {};
  return fail(runtime_error(code, fmt::format(call, std::forward<Args>(args)...), site));
}

/// While it lives, a device is the current one (then the one before, unless this process has no context there: nobody has chosen that one), and this thread may do what CUDA forbids while some thread captures a graph, such as to allocate, to wait or to poll: a
/// call that is forbidden fails and spoils the capture, and nothing of ours belongs to anybody's graph.
class OnDevice {
 public:
  OnDevice() = default;
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  Status enter(const Site& site);

 private:
  int previous_ = -1;
  cudaStreamCaptureMode previous_mode_ = cudaStreamCaptureModeRelaxed;
};

/// Deleters. A failure to release is ignored: it can only repeat what an earlier call reported.
struct Release {
  int device = 0;
  void operator()(cudaStream_t stream) const;
  void operator()(cudaEvent_t event) const;
};
struct ReleaseDeviceMemory {
  int device = 0;
  void operator()(void* memory) const;
};
struct ReleasePinnedMemory {
  int device = 0;
  void operator()(void* memory) const;
};
using OwnedStream = std::unique_ptr<CUstream_st, Release>;
using OwnedEvent = std::unique_ptr<CUevent_st, Release>;
using DeviceMemory = std::unique_ptr<void, ReleaseDeviceMemory>;
using PinnedMemory = std::unique_ptr<void, ReleasePinnedMemory>;

// The device must be the current one. Errors: out_of_memory, io_error.
Result<OwnedStream> create_stream(const Site& site);
Result<OwnedEvent> create_event(const Site& site);
Result<DeviceMemory> allocate_device_memory(const Site& site, std::size_t bytes);
Result<PinnedMemory> allocate_pinned_memory(const Site& site, std::size_t bytes);

}  // namespace holdfast::backend::cuda
