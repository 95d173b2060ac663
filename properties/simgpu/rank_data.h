// The data plane of a rank of simgpu: over NCCL where the back end is built, else the simulator's own.
#pragma once

#include <memory>

#include "impl/port/env.h"

namespace holdfast::properties {

class RankData {
 public:
  virtual ~RankData() = default;
  virtual port::DataPlane& plane() = 0;
  virtual Status close(port::Deadline deadline) = 0;
};

/// For GPU `device`, over doors that leave the rank's context when they suspend. Called in that context, as are those of the result.
Result<std::unique_ptr<RankData>> open_rank_data(port::Net& net, port::Clock& clock, port::Tasks& tasks, port::DataPlane& simulated,
                                                 int device);

}  // namespace holdfast::properties
