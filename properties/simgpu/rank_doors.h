// The doors of a rank of the simulator whose device is our CUDA code and whose data plane is our NCCL code, on the simulated runtime: each call in the
// rank's context, for all ranks are one process there.
#pragma once

#include <memory>

#include "impl/port/env.h"
#include "sim/cuda/runtime.h"

namespace holdfast::properties {

/// Used by one rank's fibres. The context must outlive it.
class RankDoors {
 public:
  virtual ~RankDoors() = default;
  /// The doors; those that are not of CUDA are `env`'s of open().
  virtual port::Env env() = 0;
  /// Waits for the rank's tasks, ends the communicator, and waits for what an exchange left unfinished. Without it the data plane leaks it. Errors: timeout.
  virtual Status close(port::Deadline deadline) = 0;

  /// GPU `device` of `devices`. `env` must outlive the doors.
  static Result<std::unique_ptr<RankDoors>> open(const port::Env& env, int device, int devices, sim::cuda::Context& context);
};

}  // namespace holdfast::properties
