// Progress on stderr: a bar with rate and time left on a terminal, a line every 10 s otherwise. Nothing for work that is over at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "impl/cli/report.h"
#include "impl/port/env.h"

namespace holdfast::cli {

/// May be told from any thread. As an Observer it shows the protocol's numbered step.
class Progress : public port::Observer {
 public:
  /// `total_bytes`: of the whole work, 0 when not known.
  Progress(const Console& console, std::uint64_t total_bytes);
  /// Wipes the bar.
  ~Progress() override;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(std::uint64_t bytes);
  void entered(std::string_view step) override;

  std::uint64_t bytes() const;
  double seconds() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  void draw_if_due();  ///< with the mutex held
  std::string line() const;

  mutable std::mutex mutex_;
  std::string verb_;
  bool silent_;
  bool terminal_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  std::string step_;
  Time start_;
  Time next_;
  bool drawn_ = false;
};

/// "206 MiB/s".
std::string rate_text(std::uint64_t bytes, double seconds);

}  // namespace holdfast::cli
