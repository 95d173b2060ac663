// What this machine offers: processor, CUDA, NCCL, and what a folder's file system really does. Looked at by doctor.
#pragma once

#include <string>
#include <vector>

#include "impl/core/error.h"

namespace holdfast::cli {

enum class Health : std::uint8_t { good, warning, bad };

struct Check {
  std::string name;
  Health health = Health::good;
  std::string found;  ///< one line
};

/// Cores, and the instructions that digests use.
Check check_processor();
/// The driver, the runtime and NCCL, each by opening its library; of NCCL also whether the data plane can use it. Missing ones are no fault: `holdfast` itself needs none.
std::vector<Check> check_cuda();
/// Tries, in a directory of its own below `folder`, what a save stands on: a name that is taken once, renames, syncs, what was written read back. Removes
/// it again. Blocks: at most 30 s a call of the storage. Errors: of opening the folder.
Result<std::vector<Check>> check_folder(const std::string& folder);

}  // namespace holdfast::cli
