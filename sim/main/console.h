// What people meet: exit codes, progress on stderr, the last line.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "sim/main/job.h"

namespace holdfast::sim::program {

enum class Exit : int { good = 0, bad = 1, no_verdict = 2 };

struct Console {
  std::string verb;
  bool json = false;
  bool quiet = false;

  /// A line of the log, on stderr.
  void note(const std::string& line) const;
  /// Ends a verb: the JSON object on stdout with --json, and `last_line` last, on stdout too without it.
  Exit finish(Exit exit, const Json& object, const std::string& last_line) const;
  /// No verdict, a damaged input included: says why on stderr.
  Exit give_up(const Error& error) const;
};

/// A bar on a terminal, a line every 10 s otherwise, nothing when quiet; from the thread that calls tick().
class Progress {
 public:
  /// `total`: cases, 0 when not known.
  Progress(const Console& console, std::string what, std::uint64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void tick(std::uint64_t done, std::uint64_t failed);

 private:
  using Time = std::chrono::steady_clock::time_point;
  const Console& console_;
  std::string what_;
  std::uint64_t total_;
  bool terminal_;
  Time start_, next_;
  bool drawn_ = false;
};

}  // namespace holdfast::sim::program
