// What a GPU is called, for people.
#pragma once

#include <string>

#include "impl/core/error.h"

namespace holdfast::backend {

/// "GPU 0: NVIDIA H200, 139 GiB, compute capability 9.0, driver for CUDA 13.0, runtime 13.0". Errors: as cuda_device_count; invalid_argument for an ordinal that
/// is not there.
Result<std::string> describe_cuda_device(int ordinal);

}  // namespace holdfast::backend
