// What the benchmarks share: a figure, and what each is asked.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "impl/core/error.h"

namespace holdfast::bench {

struct Figure {
  std::string name;  ///< of the case: "runs ranks=4"
  double value = 0;
  std::string unit;
  std::optional<double> of = {};            ///< the aim or ceiling it is held against
  std::optional<std::uint64_t> bytes = {};  ///< moved by what was measured
  std::string dtype = {};
  std::string device = {};  ///< what it was measured on, beside the machine
};

struct Request {
  bool quick = false;               ///< every case once and briefly: shows that the benchmark works, measures nothing
  std::vector<std::string> only{};  ///< sizes to measure, as they end the cases' names ("ranks=4"); none: all
  std::function<void(const Figure&)> report;

  bool wants(const std::string& size) const { return only.empty() || std::ranges::find(only, size) != only.end(); }
};

/// Seconds that pass on the wall and on this thread's processor.
class Stopwatch {
 public:
  Stopwatch();
  double wall() const;
  double cpu() const;

 private:
  double wall_;
  double cpu_;
};

/// A folder on a disk (/tmp is often memory), gone with its owner.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Peak memory of the process since it was last reset, in bytes. Errors: io_error where the system does not tell.
Status reset_peak_memory();
Result<std::uint64_t> peak_memory();

double median(std::vector<double> values);  ///< requires one

struct Benchmark {
  const char* name;
  Status (*run)(const Request&);
};
/// Those of this program.
std::span<const Benchmark> benchmarks();

/// The manifest of Llama-3.1-405B's ranks: its size, and what writing it and finding one tensor in it take.
Status bench_format(const Request& request);
/// Planning the saves of Llama-3.1-405B's ranks, from their serialised plans to the replies and the manifest; and a rank's own part of it.
Status bench_plan(const Request& request);
/// The simulator: how many cases a second, and what a save costs its coordinator.
Status bench_sim(const Request& request);

/// Durable saves and verified loads, and how much a load by other ranks reads.
Status bench_io(const Request& request);

/// Digests, packing and moving of device memory, and saves of it, against what the GPU's own copies give.
Status bench_gpu(const Request& request);

/// PosixStorage: durable writes and cold reads of large files, against the ceiling of the machine.
Status bench_storage(const Request& request);

}  // namespace holdfast::bench
