// verify(): reads every byte of a checkpoint and compares it with what the commit record promises. One process, no GPU, changes nothing.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "impl/port/storage.h"

namespace holdfast::protocol {

struct Finding {
  std::string file;     ///< relative to the folder of checkpoints
  std::string message;  ///< what was found, what was expected; for tensor data also tensor, block and offset
};

struct VerifyReport {
  std::vector<Finding> findings;  ///< empty: every bit is as it was saved
  std::uint64_t files = 0;        ///< checked
  std::uint64_t bytes = 0;        ///< read and verified
  std::uint64_t tensors = 0;
};

/// Told after each file, for progress.
using VerifyProgress = std::function<void(const VerifyReport&)>;

/// Checks the attempt `directory`: MANIFEST, every segment (size, header, every block, every tensor's layout-free digest), every value file, and
/// that nothing else lies there. Damage is a finding, never an Error; Errors are what keeps it from looking (timeout, io_error),
/// and not_found when there is no such directory or no MANIFEST in it.
Result<VerifyReport> verify_attempt(port::Storage& storage, const std::string& directory, const std::function<port::Deadline()>& deadline,
                                    const VerifyProgress& progress = {});

/// Checks every committed checkpoint of a folder, the `latest` hint and the mark `given-up`. not_found when there is none.
Result<VerifyReport> verify_all(port::Storage& storage, const std::function<port::Deadline()>& deadline,
                                const VerifyProgress& progress = {});

}  // namespace holdfast::protocol
