// What this machine's storage gives in this minute: O_DIRECT straight on io_uring, with nothing of Holdfast's in between. The I/O
// benchmarks hold their figures against it. tests/bench/io_ceiling.cc says what was tried and how it compares with fio.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "impl/core/error.h"

namespace holdfast::bench {

struct Rate {
  double gb_per_s = 0;      ///< 10^9 bytes
  double cpu_s_per_gb = 0;  ///< user and system time of the process
};

/// Both clocks at one moment.
class ProcessTime {
 public:
  ProcessTime();
  Rate rate(std::uint64_t bytes) const;  ///< of what moved `bytes` from then until now

 private:
  double wall_, cpu_;
};

/// Files of its own in a folder, which go when it does. For one thread.
class IoCeiling {
 public:
  /// `bytes` over all `files`, a multiple of 4096 each. Errors: io_error with the reason when O_DIRECT or io_uring is refused here:
  /// there is no ceiling then, and nothing else is taken for it.
  static Result<std::unique_ptr<IoCeiling>> make(const std::string& folder, std::uint64_t bytes, int files);
  ~IoCeiling();
  IoCeiling(const IoCeiling&) = delete;
  IoCeiling& operator=(const IoCeiling&) = delete;

  /// Writes new files side by side, and ends with the fsync of each. Making them and reserving their blocks is not in the time.
  Result<Rate> write();
  /// Reads them side by side, never from the page cache. Requires: write() has succeeded.
  Result<Rate> read();

 private:
  IoCeiling(std::string folder, std::uint64_t bytes_a_file) : folder_(std::move(folder)), bytes_a_file_(bytes_a_file) {}
  Status open_files(int flags);
  void close_files();
  Status remove_files();
  Result<Rate> move_all(bool write);

  struct Free {
    void operator()(std::byte* memory) const;
  };
  const std::string folder_;
  const std::uint64_t bytes_a_file_;
  std::vector<std::string> paths_;
  std::vector<int> fds_;
  std::unique_ptr<std::byte, Free> memory_;  // one request's, which all share: what is in it does not matter
};

}  // namespace holdfast::bench
