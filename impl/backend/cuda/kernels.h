// The kernels by name, for those who launch them and for sim/cuda, which answers a launch with the kernel's twin on the host.
#pragma once

namespace holdfast::backend::cuda {

/// Each takes one argument by value: PackArguments, PackArguments, DigestArguments (kernels.cuh); blocks of block_threads.
enum class Kernel { pack, unpack, digest };

/// The function that nvcc emitted for the host to launch: the first argument of cudaLaunchKernel.
const void* kernel_function(Kernel kernel);
const char* kernel_name(Kernel kernel);

}  // namespace holdfast::backend::cuda
