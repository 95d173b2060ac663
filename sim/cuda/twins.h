// The kernels of impl/backend/cuda, run on the host: the same source, one thread of a block after the other, phase by phase.
#pragma once

#include <vector>

#include "sim/cuda/state.h"

namespace holdfast::sim::cuda {

struct Twin {
  const char* name;
  std::size_t argument_bytes;
  std::uint32_t block_threads;
  std::vector<Access> (*accesses)(const void* argument);
  void (*run)(std::uint32_t blocks, const void* argument, State& state);
};

/// The twin of the function that nvcc emitted, or null.
const Twin* find_twin(const void* function);

}  // namespace holdfast::sim::cuda
