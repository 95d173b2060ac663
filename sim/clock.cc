#include "sim/clock.h"

namespace holdfast::sim {

port::TimePoint Clock::now() {
  const tsan::Inside inside;
  return port::TimePoint(port::Duration(kernel_.now()));
}

void Clock::sleep_until(port::TimePoint time) {
  const port::Deadline no_deadline{port::TimePoint::max()};
  const CallInfo info{.op = Op::clock_sleep};
  const auto effect = [&](std::string_view, std::string_view) -> Status {
    const Nanoseconds until = nanoseconds(time);
    while (kernel_.now() < until && !rank_.dead) kernel_.wait(rank_, info, until);
    return {};
  };
  // A killed rank that cannot unwind returns early; nothing it does matters any more.
  static_cast<void>(kernel_.waiting_call(rank_, info, no_deadline, effect));
}

}  // namespace holdfast::sim
