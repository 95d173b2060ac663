// What the GPU itself gives, by plain calls of the CUDA runtime and nothing of ours: what our moves are held against.
#pragma once

#include <cstddef>
#include <cstdint>

#include "impl/core/error.h"

namespace holdfast::bench {

enum class Way : std::uint8_t { in, out, within };  ///< pinned host memory to device memory, back, device memory to device memory

/// Seconds that one cudaMemcpyAsync of `bytes` takes, the median of `repeats` after one that does not count. Errors: io_error, with the call that failed.
Result<double> copy_seconds(Way way, std::size_t bytes, int repeats);

}  // namespace holdfast::bench
