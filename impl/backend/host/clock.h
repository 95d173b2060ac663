// Clock over std::chrono::steady_clock.
#pragma once

#include "impl/port/clock.h"

namespace holdfast::backend {

/// Its TimePoint counts from the epoch of std::chrono::steady_clock, and so do the deadlines of every back end that blocks a thread.
class SteadyClock : public port::Clock {
 public:
  port::TimePoint now() override;
  void sleep_until(port::TimePoint time) override;
};

}  // namespace holdfast::backend
