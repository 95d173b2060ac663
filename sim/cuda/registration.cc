// What nvcc's objects call by themselves: their fat binary and kernels register when the program starts. The twins are found by the
// kernels' host functions instead, so there is nothing to keep. The stubs behind <<<...>>> end in cudaLaunchKernel.
#include "sim/cuda/state.h"

extern "C" {

void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, uint3*, uint3*, dim3*, dim3*, int*) {}

unsigned __cudaPopCallConfiguration(dim3*, dim3*, std::size_t*, void*) {
  holdfast::sim::cuda::state().find("<<<...>>>: the simulated runtime takes launches by cudaLaunchKernel only");
  return cudaErrorNotSupported;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                               cudaStream_t stream) {
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, arguments, shared_bytes, stream);
}

}  // extern "C"
