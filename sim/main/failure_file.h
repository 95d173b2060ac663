// A failing run as one JSON file: what is needed to run it again on this build or another, and what it must show then.
#pragma once

#include <string>
#include <vector>

#include "sim/main/job.h"
#include "sim/shrink.h"

namespace holdfast::sim::program {

struct FailureFile {
  std::string build;
  Job job;
  std::uint64_t seed = 0;        ///< of the campaign
  std::uint64_t index = 0;       ///< of the case in it
  Case test;                     ///< shrunk, with its decisions
  Violation signature;           ///< the violation that the shrinking kept
  std::uint64_t event_hash = 0;  ///< of the story
  std::uint64_t hash = 0;        ///< of story, recovery and disk
  std::size_t faults_before = 0, decisions_before = 0, decisions_after = 0;
  std::uint64_t shrink_runs = 0;
  std::vector<std::string> shrink_history;
};

/// Errors: not_found, io_error; corrupt for what is no failure file, unsupported for a later version.
Result<FailureFile> read_failure_file(const std::string& path);
/// The mutant that the failure needs, "" for none; for builds that have it not.
Result<std::string> planted_bug_of(const std::string& path);
/// Makes the folders. Errors: io_error.
Status write_failure_file(const std::string& path, const FailureFile& failure);

/// "FAIL class=safety prop=S3 ... | holdfast sim replay PATH", at most 200 characters.
std::string failure_line(const FailureFile& failure, const std::string& path);
/// "save, 4 ranks, mutant x".
std::string describe(const Job& job);

/// Shrinks a failure of a campaign over `job` and makes it a file's content.
FailureFile shrunk_failure(const Job& job, std::uint64_t seed, const Failure& failure);

}  // namespace holdfast::sim::program
