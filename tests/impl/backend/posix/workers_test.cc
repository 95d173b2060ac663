#include "impl/backend/posix/workers.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "impl/backend/host/clock.h"

namespace holdfast::backend {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

Result<int> three() { return 3; }

TEST(Workers, GiveTheResultOrTheError) {
  SteadyClock clock;
  const auto workers = Workers::start({.workers = 1}).value();
  EXPECT_EQ(workers->call<int>(clock.after(60s), three, nullptr)->value(), 3);
  const auto failing = [] { return Result<int>(fail(ErrorCode::io_error, "no")); };
  EXPECT_EQ(workers->call<int>(clock.after(60s), failing, nullptr)->error().message, "no");
}

TEST(Workers, ReplaceHungOnesUpToTheirLimitAndRecover) {
  SteadyClock clock;
  const auto workers = Workers::start({.workers = 1, .workers_max = 3}).value();
  const auto go = std::make_shared<std::promise<void>>();
  const auto hang = [gate = std::shared_future<void>(go->get_future())] {
    gate.wait();
    return Status();
  };
  for (int hung = 1; hung <= 3; ++hung) {
    bool dropped = true;
    EXPECT_FALSE(workers->call<void>(clock.after(30ms), hang, &dropped));
    EXPECT_FALSE(dropped);
    EXPECT_EQ(workers->abandoned(), hung);
  }
  bool dropped = false;
  EXPECT_FALSE(workers->call<int>(clock.after(20ms), three, &dropped));
  EXPECT_TRUE(dropped);
  EXPECT_EQ(workers->abandoned(), 3);
  go->set_value();
  while (workers->abandoned() != 0) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(workers->call<int>(clock.after(60s), three, nullptr)->value(), 3);
}

TEST(Workers, RunNoMoreAtOnceThanTheyAre) {
  SteadyClock clock;
  const auto workers = Workers::start({.workers = 2}).value();
  std::atomic<int> running{0}, most{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 6; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const auto work = [&] {
          const int now = ++running;
          int seen = most;
          while (now > seen && !most.compare_exchange_weak(seen, now)) {
          }
          std::this_thread::sleep_for(1ms);
          --running;
          return Status();
        };
        EXPECT_TRUE(workers->call<void>(clock.after(60s), work, nullptr));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(most, 2);
}

TEST(Workers, ACallThatEndsAtItsDeadlineIsEitherGivenOrAbandonedNeverBoth) {
  SteadyClock clock;
  const auto workers = Workers::start({.workers = 2}).value();
  int given = 0;
  std::atomic<int> ended{0};
  for (int i = 0; i < 300; ++i) {
    const auto owned = std::make_shared<int>(i);
    const auto work = [owned, &ended] {
      std::this_thread::sleep_for(std::chrono::microseconds(100 + *owned % 50));
      ++ended;
      return Result<int>(*owned);
    };
    const auto result = workers->call<int>(clock.after(std::chrono::microseconds(100 + i)), work, nullptr);
    if (!result) continue;
    ++given;
    EXPECT_EQ(result->value(), i);
  }
  while (workers->abandoned() != 0) std::this_thread::sleep_for(1ms);
  EXPECT_GE(ended, given);
}

}  // namespace
}  // namespace holdfast::backend
