// Which rank of how many this process is, as a launcher's environment says. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "impl/core/error.h"

namespace holdfast::cli {

struct Launcher {
  std::string via;  ///< "torchrun", "slurm", "openmpi", "pmi"
  std::int64_t rank = 0;
  std::int64_t world = 1;
  bool operator==(const Launcher&) const = default;
};

/// A variable of the environment; none: it is not set.
using Variable = std::function<std::optional<std::string>(const char* name)>;

/// Every launcher whose two variables are set. Empty: this process is alone.
/// Errors: invalid_argument for one variable without the other, what is no number, a rank that is not below the world; for two launchers that
/// disagree: `RANK=3 of WORLD_SIZE=8 (torchrun), SLURM_PROCID=1 of SLURM_NTASKS=2 (slurm): they disagree`.
Result<std::vector<Launcher>> find_launchers(const Variable& variable);

}  // namespace holdfast::cli
