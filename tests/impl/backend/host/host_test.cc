// Clock, tasks and device of the host.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "impl/backend/host/clock.h"
#include "impl/backend/host/device.h"
#include "impl/backend/host/tasks.h"

namespace holdfast::backend {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

TEST(SteadyClock, SleepsUntilTheInstantAndNotForOneThatPassed) {
  SteadyClock clock;
  const port::TimePoint begin = clock.now();
  clock.sleep_until(begin + 20ms);
  EXPECT_GE(clock.now() - begin, 20ms);
  const port::TimePoint later = clock.now();
  clock.sleep_until(begin);
  EXPECT_LT(clock.now() - later, 10s);
}

class ThreadTasksTest : public testing::Test {
 protected:
  port::Deadline soon() { return clock.after(60s); }
  SteadyClock clock;
  ThreadTasks tasks;
};

TEST_F(ThreadTasksTest, JoinShowsWhatTheTaskWrote) {
  int written = 0;
  const port::TaskId task = tasks.spawn("writer", [&] { written = 7; }).value();
  ASSERT_TRUE(tasks.join(task, soon()));
  EXPECT_EQ(written, 7);
  EXPECT_EQ(tasks.live_tasks(), 0u);
}

TEST_F(ThreadTasksTest, JoinTimesOutAndCanBeAskedAgain) {
  std::promise<void> go;
  const port::TaskId task = tasks.spawn("slow", [&] { go.get_future().wait(); }).value();
  const Status late = tasks.join(task, clock.after(20ms));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), (Error{ErrorCode::timeout, "join task \"slow\": it still runs at the deadline"}));
  go.set_value();
  EXPECT_TRUE(tasks.join(task, soon()));
}

TEST_F(ThreadTasksTest, ReleasesWhatATaskOwnsBeforeJoinReturns) {
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = owned;
  const port::TaskId task = tasks.spawn("owner", [kept = std::move(owned)] { EXPECT_EQ(*kept, 1); }).value();
  ASSERT_TRUE(tasks.join(task, soon()));
  EXPECT_TRUE(watched.expired());
}

TEST_F(ThreadTasksTest, ADetachedTaskCleansUpAfterItself) {
  auto go = std::make_shared<std::promise<void>>();
  tasks.detach(tasks.spawn("left alone", [go] { go->get_future().wait(); }).value());
  const Status early = tasks.close(clock.after(20ms));
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error(), (Error{ErrorCode::timeout, "wait for detached tasks: still running at the deadline: \"left alone\""}));
  go->set_value();
  ASSERT_TRUE(tasks.close(soon()));
  EXPECT_EQ(tasks.live_tasks(), 0u);

  const port::TaskId ended = tasks.spawn("ended", [] {}).value();
  std::this_thread::sleep_for(20ms);
  tasks.detach(ended);
  EXPECT_TRUE(tasks.close(soon()));
  EXPECT_EQ(tasks.live_tasks(), 0u);
}

TEST_F(ThreadTasksTest, ADetachedTaskMayOutliveItsTasks) {
  auto go = std::make_shared<std::promise<void>>();
  auto gone = std::make_shared<std::promise<void>>();
  {
    ThreadTasks short_lived;
    short_lived.detach(short_lived
                           .spawn("survivor",
                                  [go, gone] {
                                    go->get_future().wait();
                                    gone->set_value();
                                  })
                           .value());
  }
  go->set_value();
  EXPECT_EQ(gone->get_future().wait_for(60s), std::future_status::ready);
}

TEST_F(ThreadTasksTest, FuturesGiveResultsErrorsAndTimeouts) {
  auto value = port::Future<int>::run(tasks, "value", [] { return Result<int>(42); }).value();
  EXPECT_EQ(value.get(soon()).value(), 42);
  auto failure = port::Future<int>::run(tasks, "failure", []() -> Result<int> { return fail(ErrorCode::io_error, "no"); }).value();
  EXPECT_EQ(failure.get(soon()).error(), (Error{ErrorCode::io_error, "no"}));
  std::promise<void> go;
  auto slow = port::Future<void>::run(tasks, "slow", [&] {
                go.get_future().wait();
                return Status();
              }).value();
  EXPECT_EQ(slow.get(clock.after(10ms)).error().code, ErrorCode::timeout);
  go.set_value();
  EXPECT_TRUE(slow.get(soon()));
  {
    const auto dropped = port::Future<void>::run(tasks, "dropped", [] { return Status(); }).value();
  }
  EXPECT_TRUE(tasks.close(soon()));
}

TEST_F(ThreadTasksTest, MonitorWakesWhoWaitsForAChangeAndTimesOutOtherwise) {
  const auto monitor = tasks.make_monitor();
  int value = 0;
  const Status late = monitor->wait("a number", [&] { return value == 1; }, clock.after(20ms));
  EXPECT_EQ(late.error(), (Error{ErrorCode::timeout, "wait for a number: it did not come by the deadline"}));
  auto waiting =
      port::Future<void>::run(tasks, "wait", [&] { return monitor->wait("a number", [&] { return value == 1; }, soon()); }).value();
  monitor->change([&] { value = 1; });
  EXPECT_TRUE(waiting.get(soon()));
}

TEST_F(ThreadTasksTest, PromiseGivesItsFirstWordAndAbortedWithoutOne) {
  port::Promise<int> promise(tasks.make_monitor());
  port::Future<int> future = promise.future();
  EXPECT_EQ(future.get(clock.after(10ms)).error().code, ErrorCode::timeout);
  promise.set(7);
  promise.set(8);
  EXPECT_EQ(future.get(soon()).value(), 7);
  std::optional<port::Future<int>> unheard;
  {
    port::Promise<int> silent(tasks.make_monitor());
    unheard.emplace(silent.future());
  }
  EXPECT_EQ(unheard->get(soon()).error(), (Error{ErrorCode::aborted, "the task ended before it came to this"}));
}

TEST_F(ThreadTasksTest, RunsManyTasksFromManyThreads) {
  std::atomic<int> ran{0};
  std::vector<std::thread> spawners;
  for (int t = 0; t < 4; ++t) {
    spawners.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const port::TaskId task = tasks.spawn("one", [&] { ++ran; }).value();
        ASSERT_TRUE(tasks.join(task, soon()));
      }
    });
  }
  for (std::thread& spawner : spawners) spawner.join();
  EXPECT_EQ(ran, 200);
  EXPECT_EQ(tasks.live_tasks(), 0u);
}

TEST(ThreadTasksDeathTest, StopsOnATaskThatIsNeitherJoinedNorDetached) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ThreadTasks tasks;
        static_cast<void>(tasks.spawn("forgotten", [] {}));
      },
      "task \"forgotten\" was neither joined nor detached");
}

TEST(HostDevice, AllocatesAlignedAndCountsUntilTheLastOwner) {
  HostDevice device;
  {
    const port::Buffer staging = device.allocate_staging(5000).value();
    const auto owner = device.allocate_device(100).value().owner;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(staging.bytes.data()) % 4096, 0u);
    EXPECT_EQ(staging.kind, MemoryKind::host);
    EXPECT_EQ(device.live_buffers(), 2u);
    EXPECT_EQ(device.live_bytes(), 5100u);
  }
  EXPECT_EQ(device.live_buffers(), 0u);
  EXPECT_EQ(device.live_bytes(), 0u);
}

TEST(HostDevice, RefusesToPassItsMemoryLimit) {
  HostDevice device({.memory_bytes_max = 100});
  const port::Buffer first = device.allocate_staging(60).value();
  const auto refused = device.allocate_device(41);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), (Error{ErrorCode::out_of_memory, "allocate 41 bytes of device memory: 60 of 100 bytes are in use"}));
  EXPECT_EQ(device.allocate_staging(101).error().code, ErrorCode::out_of_memory);
  EXPECT_TRUE(device.allocate_staging(40));
}

TEST(HostDevice, BuffersOutliveTheDevice) {
  port::Buffer kept;
  {
    HostDevice device;
    kept = device.allocate_staging(10).value();
  }
  kept.bytes[9] = std::byte{1};
  EXPECT_EQ(kept.bytes[9], std::byte{1});
}

TEST(HostDevice, SaysWhichSizesDoNotFit) {
  HostDevice device;
  const port::StreamId stream = device.create_stream().value();
  Bytes memory(8);
  const StridedBlock block = packed_block(memory.data(), {2}, 4);
  EXPECT_EQ(device.copy_out(block, ByteSpan(memory).first(4), nullptr, stream).error().message, "copy a block of 8 bytes out to 4 bytes");
  EXPECT_EQ(device.copy_in(ByteView(memory).first(4), nullptr, block, stream).error().message, "copy 4 bytes into a block of 8 bytes");
}

TEST(HostDevice, LazyWorkRunsAtItsEventAndNotBefore) {
  SteadyClock clock;
  HostDevice device({.streams = StreamMode::lazy});
  const port::StreamId stream = device.create_stream().value();
  Bytes memory = to_bytes(as_bytes("abcd"));
  const StridedBlock block = packed_block(memory.data(), {4}, 1);
  const port::Buffer staging = device.allocate_staging(4).value();
  ASSERT_TRUE(device.copy_out(block, staging.bytes, staging.owner, stream));
  EXPECT_EQ(as_text(staging.bytes), "\xDB\xDB\xDB\xDB");
  const port::EventId event = device.record(stream).value();

  const Status late = device.synchronize(event, {clock.now()});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), (Error{ErrorCode::timeout, "synchronize: 1 pieces of work before the event have not run at the deadline"}));
  ASSERT_TRUE(device.synchronize(event, clock.after(60s)));
  EXPECT_EQ(as_text(staging.bytes), "abcd");
  EXPECT_TRUE(device.synchronize(event, {clock.now()})) << "a complete event needs no time";
  EXPECT_EQ(staging.owner.use_count(), 1);
  device.destroy_event(event);
  device.destroy_stream(stream);
}

TEST(HostDevice, LazyWorkKeepsItsOwnerAndRunsWhenItsStreamEnds) {
  HostDevice device({.streams = StreamMode::lazy});
  const port::StreamId stream = device.create_stream().value();
  Bytes memory = to_bytes(as_bytes("abcd"));
  port::Buffer staging = device.allocate_staging(4).value();
  ASSERT_TRUE(device.copy_in(staging.bytes, staging.owner, packed_block(memory.data(), {4}, 1), stream));
  staging = {};
  EXPECT_EQ(device.live_buffers(), 1u);
  device.destroy_stream(stream);
  EXPECT_EQ(as_text(memory), "\xDB\xDB\xDB\xDB");
  EXPECT_EQ(device.live_buffers(), 0u);
}

TEST(HostDevice, StopsOnAStreamOrEventThatIsNotOpen) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  HostDevice device;
  EXPECT_DEATH(device.destroy_stream(port::StreamId{3}), "stream 3 is not open");
  EXPECT_DEATH(device.destroy_event(port::EventId{4}), "event 4 is not open");
}

TEST(HostDevice, ServesStreamsOfManyThreads) {
  SteadyClock clock;
  HostDevice device;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const port::StreamId stream = device.create_stream().value();
      for (int i = 0; i < 100; ++i) {
        Bytes memory(1000, std::byte(static_cast<std::uint8_t>(t * 50 + i % 50)));
        const port::Buffer staging = device.allocate_staging(1000).value();
        ASSERT_TRUE(device.copy_out(packed_block(memory.data(), {1000}, 1), staging.bytes, staging.owner, stream));
        const port::EventId event = device.record(stream).value();
        ASSERT_TRUE(device.synchronize(event, clock.after(60s)));
        device.destroy_event(event);
        ASSERT_TRUE(std::equal(memory.begin(), memory.end(), staging.bytes.begin()));
      }
      device.destroy_stream(stream);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(device.live_buffers() + device.live_streams() + device.live_events(), 0u);
}

}  // namespace
}  // namespace holdfast::backend
