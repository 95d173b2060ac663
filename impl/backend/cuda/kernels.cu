#include "impl/backend/cuda/kernels.cuh"
#include "impl/backend/cuda/kernels.h"

namespace holdfast::backend::cuda {
namespace {

__device__ Thread here() { return {threadIdx.x, blockIdx.x, gridDim.x}; }

__global__ void pack(PackArguments arguments) { pack_thread<true>(arguments, here()); }

__global__ void unpack(PackArguments arguments) { pack_thread<false>(arguments, here()); }

__global__ void digest(DigestArguments arguments) {
  __shared__ DigestShared shared;
  for (std::uint32_t phase = 0; phase < digest_phases; ++phase) {
    digest_thread(arguments, shared, here(), phase);
    __syncthreads();
  }
}

}  // namespace

const void* kernel_function(Kernel kernel) {
  switch (kernel) {
    case Kernel::pack: return reinterpret_cast<const void*>(&pack);
    case Kernel::unpack: return reinterpret_cast<const void*>(&unpack);
    case Kernel::digest: return reinterpret_cast<const void*>(&digest);
  }
  return nullptr;
}

const char* kernel_name(Kernel kernel) {
  switch (kernel) {
    case Kernel::pack: return "pack";
    case Kernel::unpack: return "unpack";
    case Kernel::digest: return "digest";
  }
  return "?";
}

}  // namespace holdfast::backend::cuda
