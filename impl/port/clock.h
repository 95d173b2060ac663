// Time as protocol code sees it: a point on a monotonic clock, and deadlines. No wall clock anywhere.
#pragma once

#include <chrono>

#include "impl/core/error.h"

namespace holdfast::port {

/// Tag of the job's monotonic clock; its epoch means nothing.
struct ClockEpoch {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<ClockEpoch>;
  static constexpr bool is_steady = true;
};
using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<ClockEpoch>;

/// The instant after which a call must have returned. There is no infinite deadline.
struct Deadline {
  TimePoint at;
  bool operator==(const Deadline&) const = default;
};

class Clock {
 public:
  virtual ~Clock() = default;
  /// Never goes back.
  virtual TimePoint now() = 0;
  /// Blocks until `time`.
  virtual void sleep_until(TimePoint time) = 0;

  /// `duration` from now.
  Deadline after(Duration duration) { return {now() + duration}; }
};

}  // namespace holdfast::port
