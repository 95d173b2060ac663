// Virtual time. Reading it is free and is no site.
#pragma once

#include "impl/port/clock.h"
#include "sim/kernel.h"

namespace holdfast::sim {

class Clock final : public port::Clock {
 public:
  Clock(Kernel& kernel, RankState& rank) : kernel_(kernel), rank_(rank) {}
  port::TimePoint now() override;
  void sleep_until(port::TimePoint time) override;

 private:
  Kernel& kernel_;
  RankState& rank_;
};

}  // namespace holdfast::sim
