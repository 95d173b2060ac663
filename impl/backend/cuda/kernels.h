// The kernels by name, for those who launch them and for sim/cuda, which answers a launch with the kernel's twin on the host.
#pragma once

namespace holdfast::backend::cuda {

/// Each takes one argument by value, MoveArguments or DigestArguments (kernels.cuh); a share is a block of block_threads.
enum class Kernel { pack, unpack, digest_rows, digest_runs };
inline constexpr Kernel all_kernels[] = {Kernel::pack, Kernel::unpack, Kernel::digest_rows, Kernel::digest_runs};

/// The function that nvcc emitted for the host to launch: the first argument of cudaLaunchKernel.
const void* kernel_function(Kernel kernel);
const char* kernel_name(Kernel kernel);

}  // namespace holdfast::backend::cuda
