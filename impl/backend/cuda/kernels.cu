#include "impl/backend/cuda/digest.cuh"
#include "impl/backend/cuda/kernels.h"

namespace holdfast::backend::cuda {
namespace {

__device__ Thread here() { return {threadIdx.x, blockIdx.x}; }

__global__ void __launch_bounds__(block_threads) pack(MoveArguments arguments) { move_thread<true>(arguments, here()); }

__global__ void __launch_bounds__(block_threads) unpack(MoveArguments arguments) { move_thread<false>(arguments, here()); }

__global__ void __launch_bounds__(block_threads, 4) digest_rows(DigestArguments arguments) {
  __shared__ DigestShared shared;
#pragma unroll
  for (std::uint32_t phase = 0; phase < rows_phases; ++phase) {
    rows_thread(arguments, shared, here(), phase);
    __syncthreads();
  }
}

/// Two blocks on a multiprocessor leave a thread the 128 registers that hold its keys.
__global__ void __launch_bounds__(block_threads, 2) digest_runs(DigestArguments arguments) {
  __shared__ DigestShared shared;
#pragma unroll
  for (std::uint32_t phase = 0; phase < runs_phases; ++phase) {
    runs_thread(arguments, shared, here(), phase);
    __syncthreads();
  }
}

}  // namespace

const void* kernel_function(Kernel kernel) {
  switch (kernel) {
    case Kernel::pack: return reinterpret_cast<const void*>(&pack);
    case Kernel::unpack: return reinterpret_cast<const void*>(&unpack);
    case Kernel::digest_rows: return reinterpret_cast<const void*>(&digest_rows);
    case Kernel::digest_runs: return reinterpret_cast<const void*>(&digest_runs);
  }
  return nullptr;
}

const char* kernel_name(Kernel kernel) {
  switch (kernel) {
    case Kernel::pack: return "pack";
    case Kernel::unpack: return "unpack";
    case Kernel::digest_rows: return "digest_rows";
    case Kernel::digest_runs: return "digest_runs";
  }
  return "?";
}

}  // namespace holdfast::backend::cuda
