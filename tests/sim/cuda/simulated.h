// A CudaDevice on the simulated runtime, under a clock that only sleeping moves.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "impl/backend/cuda/device.h"
#include "sim/cuda/runtime.h"

namespace holdfast::testing_cuda {

class StillClock : public port::Clock {
 public:
  port::TimePoint now() override { return now_; }
  void sleep_until(port::TimePoint time) override { now_ = std::max(now_, time); }

 private:
  port::TimePoint now_;
};

/// Made anew for each seed. At its end nothing may be left, and nothing may have been misused.
struct Simulated {
  explicit Simulated(std::uint64_t seed, sim::cuda::Pace pace = sim::cuda::Pace::any) {
    sim::cuda::reset(seed, pace);
    device = backend::make_cuda_device(0, clock).value();
  }
  port::Deadline soon() { return clock.after(std::chrono::seconds(60)); }
  /// What is wrong once the device is closed, a line each.
  std::string close() {
    device.reset();
    return fmt::format("{}", fmt::join(sim::cuda::report(), "\n"));
  }

  StillClock clock;
  std::unique_ptr<backend::CudaDevice> device;
};

/// Another thread of the process, to the simulated runtime: calls run in a context of its own.
struct OtherThread {
  void operator()(const std::function<void()>& body) const {
    sim::cuda::Context* const before = sim::cuda::switch_context(context.get());
    body();
    sim::cuda::switch_context(before);
  }
  std::shared_ptr<sim::cuda::Context> context = std::make_shared<sim::cuda::Context>();
};

}  // namespace holdfast::testing_cuda
