// What the CUDA back end must do beside a real trainer: with its streams, its captures and its memory. The same cases run on a GPU and on the simulated runtime.
#pragma once

#include <functional>
#include <span>

#include "impl/backend/cuda/device.h"

namespace holdfast::testing_cuda {

/// Runs a function on a thread that is none of ours, always the same, and waits for it.
using OnAnotherThread = std::function<void(const std::function<void()>&)>;

struct TrainerCase {
  const char* name;
  /// The Error names the expectation that did not hold, or what failed on the way. Everything opened is given back when it succeeds.
  Status (*run)(backend::CudaDevice& device, port::Clock& clock, const OnAnotherThread& on_another_thread);
};

std::span<const TrainerCase> trainer_cases();

}  // namespace holdfast::testing_cuda
