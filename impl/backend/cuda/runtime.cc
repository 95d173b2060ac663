#include "impl/backend/cuda/runtime.h"

#include <dlfcn.h>

#include "impl/core/mutate.h"

namespace holdfast::backend::cuda {

bool loses_device(cudaError_t code) {
  switch (code) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure: return true;
    default: return false;
  }
}

bool means_no_gpu(cudaError_t code) {
  return code == cudaErrorInsufficientDriver || code == cudaErrorStubLibrary || code == cudaErrorNoDevice;
}

Error runtime_error(cudaError_t code, std::string_view call, const Site& site) {
  (void)cudaGetLastError();
  ErrorCode meaning = ErrorCode::io_error;
  if (code == cudaErrorMemoryAllocation) meaning = ErrorCode::out_of_memory;
  if (code == cudaErrorInvalidResourceHandle) meaning = ErrorCode::invalid_argument;  // a stream that a user gave, of another device
  const std::string where = site.stream.value < 0 ? "" : fmt::format(", stream {}", site.stream.value);
  Error result = error(meaning, "{} on device {}{}: {}", call, site.device, where, cudaGetErrorString(code));
  if (!loses_device(code)) return result;
  result.message += "; work enqueued earlier lost the device to this process";
  if (!site.under_way.empty()) result.message += fmt::format(" (under way on this stream: {})", site.under_way);
  if (site.lost != nullptr && site.lost->empty()) *site.lost = result.message;
  return result;
}

Status OnDevice::enter(const Site& site) {
  // The device first: on a thread that has none yet, other calls would make a context on device 0.
  int current = -1;
  TRY(called(cudaGetDevice(&current), site, "cudaGetDevice"));
  if (current != site.device) {
    previous_ = current;  // also when the next call fails: it may tell of earlier work, and have set the device all the same
    TRY(called(cudaSetDevice(site.device), site, "cudaSetDevice({})", site.device));
  }
  // Gives the mode before, perhaps also with an error, which may tell of earlier work. Where it did not, the mode is not put back either.
  const cudaError_t relaxed = MUTATE("cuda.capture_mode_kept", cudaThreadExchangeStreamCaptureMode(&previous_mode_), cudaSuccess);
  return called(relaxed, site, "cudaThreadExchangeStreamCaptureMode");
}

namespace {

/// Whether this process uses the device, as far as the driver tells: to make one the current device that it does not use would make a context there, of
/// hundreds of megabytes, for each rank of the host. The driver is never linked; a device's handle is its ordinal.
bool has_context(int device) {
  using GetState = int (*)(int device, unsigned* flags, int* active);  // cuDevicePrimaryCtxGetState
  void* const driver = ::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  if (driver == nullptr) return true;
  const auto get_state = reinterpret_cast<GetState>(::dlsym(driver, "cuDevicePrimaryCtxGetState"));
  unsigned flags = 0;
  int active = 1;
  const bool told = get_state != nullptr && get_state(device, &flags, &active) == 0;
  (void)::dlclose(driver);
  return !told || active != 0;
}

}  // namespace

OnDevice::~OnDevice() {
  if (previous_mode_ != cudaStreamCaptureModeRelaxed) (void)cudaThreadExchangeStreamCaptureMode(&previous_mode_);
  if (previous_ >= 0 && has_context(previous_) && cudaSetDevice(previous_) != cudaSuccess) (void)cudaGetLastError();
}

namespace {

template <typename Call>
void release(int device, Call call) {
  OnDevice here;
  (void)here.enter(Site{device});
  if (call() != cudaSuccess) (void)cudaGetLastError();
}

}  // namespace

void Release::operator()(cudaStream_t stream) const {
  release(device, [&] { return cudaStreamDestroy(stream); });
}
void Release::operator()(cudaEvent_t event) const {
  if (MUTATE("cuda.event_leaked", true, false)) release(device, [&] { return cudaEventDestroy(event); });
}
void ReleaseDeviceMemory::operator()(void* memory) const {
  release(device, [&] { return cudaFree(memory); });
}
void ReleasePinnedMemory::operator()(void* memory) const {
  release(device, [&] { return cudaFreeHost(memory); });
}

Result<OwnedStream> create_stream(const Site& site) {
  cudaStream_t stream = nullptr;
  TRY(called(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), site, "cudaStreamCreateWithFlags"));
  return OwnedStream(stream, Release{site.device});
}

Result<OwnedEvent> create_event(const Site& site) {
  cudaEvent_t event = nullptr;
  TRY(called(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), site, "cudaEventCreateWithFlags"));
  return OwnedEvent(event, Release{site.device});
}

Result<DeviceMemory> allocate_device_memory(const Site& site, std::size_t bytes) {
  void* memory = nullptr;
  TRY(called(cudaMalloc(&memory, bytes), site, "cudaMalloc({} bytes)", bytes));
  return DeviceMemory(memory, ReleaseDeviceMemory{site.device});
}

Result<PinnedMemory> allocate_pinned_memory(const Site& site, std::size_t bytes) {
  void* memory = nullptr;
  TRY(called(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), site, "cudaHostAlloc({} bytes)", bytes));
  return PinnedMemory(memory, ReleasePinnedMemory{site.device});
}

}  // namespace holdfast::backend::cuda
