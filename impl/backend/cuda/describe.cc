#include "impl/backend/cuda/describe.h"

#include "impl/backend/cuda/device.h"
#include "impl/backend/cuda/runtime.h"

namespace holdfast::backend {
namespace {

/// As CUDA writes versions in one number.
std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

}  // namespace

Result<std::string> describe_cuda_device(int ordinal) {
  const int devices = TRY(cuda_device_count());
  if (ordinal < 0 || ordinal >= devices) return fail(ErrorCode::invalid_argument, "CUDA device {}: this host has {}", ordinal, devices);
  const cuda::Site site{.device = ordinal};
  cudaDeviceProp properties{};
  TRY(cuda::called(cudaGetDeviceProperties(&properties, ordinal), site, "cudaGetDeviceProperties"));
  int driver = 0, runtime = 0;
  TRY(cuda::called(cudaDriverGetVersion(&driver), site, "cudaDriverGetVersion"));
  TRY(cuda::called(cudaRuntimeGetVersion(&runtime), site, "cudaRuntimeGetVersion"));
  return fmt::format("GPU {}: {}, {} GiB, compute capability {}.{}, driver for CUDA {}, runtime {}", ordinal, properties.name,
                     properties.totalGlobalMem >> 30, properties.major, properties.minor, version_text(driver), version_text(runtime));
}

}  // namespace holdfast::backend
