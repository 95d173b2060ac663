// How an entry point of the simulated runtime begins and ends.
#pragma once

#include "sim/cuda/state.h"
#include "sim/tsan.h"

namespace holdfast::sim::cuda {

/// Keeps the error as the thread's last.
cudaError_t remember(cudaError_t code);
/// A finding.
cudaError_t unsupported(const char* name, const char* what);

/// A call that does `body` unless it fails first.
template <typename Body>
cudaError_t call(const char* name, Body body) {
  const tsan::Inside inside;
  cudaError_t code = state().enter(name, true);
  if (code == cudaSuccess) code = body(state());
  return remember(code);
}

/// A call that does `body` in any case: it releases, or needs no device that works.
template <typename Body>
cudaError_t call_always(const char* name, bool needs_device, Body body) {
  const tsan::Inside inside;
  const cudaError_t failure = state().enter(name, needs_device);
  const cudaError_t code = body(state());
  return remember(failure != cudaSuccess ? failure : code);
}

}  // namespace holdfast::sim::cuda
