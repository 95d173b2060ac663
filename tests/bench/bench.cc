#include "tests/bench/bench.h"

#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "impl/core/check.h"

namespace holdfast::bench {
namespace {

double seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

Stopwatch::Stopwatch() : wall_(seconds(CLOCK_MONOTONIC)), cpu_(seconds(CLOCK_THREAD_CPUTIME_ID)) {}
double Stopwatch::wall() const { return seconds(CLOCK_MONOTONIC) - wall_; }
double Stopwatch::cpu() const { return seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_; }

Folder::Folder() : path_("/var/tmp/holdfast-bench-XXXXXX") { CHECK(::mkdtemp(path_.data()), "make a folder {}", path_); }
Folder::~Folder() {
  std::error_code ignored;  // nothing to tell it to
  std::filesystem::remove_all(path_, ignored);
}

Status reset_peak_memory() {
  std::ofstream out("/proc/self/clear_refs");
  out << "5" << std::flush;
  if (!out) return fail(ErrorCode::io_error, "reset the peak of memory: /proc/self/clear_refs cannot be written");
  return {};
}

Result<std::uint64_t> peak_memory() {
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;) {
    std::uint64_t kib = 0;
    if (word == "VmHWM:" && in >> kib) return kib * 1024;
  }
  return fail(ErrorCode::io_error, "peak of memory: /proc/self/status has no VmHWM");
}

double median(std::vector<double> values) {
  CHECK(!values.empty(), "the median of nothing");
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace holdfast::bench
