// PyTorch DCP's planner, timed beside ours where PyTorch is installed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "impl/core/error.h"

namespace holdfast::bench {

struct PlanPeer {
  double seconds = 0;  ///< of one core
  std::uint64_t chunks = 0;
  std::string version;
};

/// Runs plan_peer.py on a job of so many ranks that shard so many tensors. None where there is no python3 or no PyTorch; `why` says so then.
/// Errors: aborted, when the planner fails.
Result<std::optional<PlanPeer>> time_plan_peer(int ranks, int tensors, std::string& why);

}  // namespace holdfast::bench
