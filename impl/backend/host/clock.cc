#include "impl/backend/host/clock.h"

#include <thread>

namespace holdfast::backend {

port::TimePoint SteadyClock::now() { return port::TimePoint(std::chrono::steady_clock::now().time_since_epoch()); }

void SteadyClock::sleep_until(port::TimePoint time) {
  std::this_thread::sleep_until(std::chrono::steady_clock::time_point(time.time_since_epoch()));
}

}  // namespace holdfast::backend
