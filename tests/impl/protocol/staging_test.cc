// Staging: the pool that bounds its memory, the pipe between its tasks, and the parts of tensors that pass through it.
#include "impl/protocol/staging.h"

#include <gtest/gtest.h>

#include "impl/backend/host/clock.h"
#include "impl/backend/host/device.h"
#include "impl/backend/host/tasks.h"
#include "impl/backend/inprocess/world.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/port/unfinished.h"
#include "impl/protocol/pipe.h"
#include "impl/protocol/staging_pool.h"

namespace holdfast::protocol {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

class Staging : public testing::Test {
 protected:
  port::Deadline soon() { return clock.after(60s); }
  backend::SteadyClock clock;
  backend::HostDevice device;
  backend::ThreadTasks tasks;
  backend::InProcessWorld world{1};
  std::unique_ptr<backend::PosixStorage> storage = *backend::PosixStorage::open_root("/tmp");
  const port::Env env{world.net(Rank{0}), world.data(Rank{0}), *storage, device, clock, tasks};
};

TEST_F(Staging, PoolReusesWhatCameBackAndFreesItWhenItGoes) {
  {
    StagingPool pool(device, tasks);
    port::Buffer first = pool.acquire(8192, 10000, soon()).value();
    const std::byte* const address = first.bytes.data();
    EXPECT_EQ(pool.held_bytes(), 8192u);
    first = {};
    EXPECT_EQ(pool.held_bytes(), 8192u);
    const port::Buffer second = pool.acquire(5000, 10000, soon()).value();
    EXPECT_EQ(second.bytes.data(), address);
    EXPECT_EQ(second.bytes.size(), 8192u);
    EXPECT_EQ(device.live_buffers(), 1u);
  }
  EXPECT_EQ(device.live_buffers(), 0u);
}

TEST_F(Staging, PoolMakesRoomByFreeingWhatIsIdle) {
  StagingPool pool(device, tasks);
  (void)pool.acquire(4096, 20000, soon()).value();
  (void)pool.acquire(6000, 10000, soon()).value();
  EXPECT_EQ(pool.held_bytes(), 6000u) << "the idle one was too small";
  (void)pool.acquire(9000, 10000, soon()).value();
  EXPECT_EQ(pool.held_bytes(), 9000u);
  EXPECT_EQ(pool.peak_bytes(), 9000u);
  pool.trim(9000);
  EXPECT_EQ(pool.held_bytes(), 9000u);
  pool.trim(0);
  EXPECT_EQ(pool.held_bytes(), 0u);
  EXPECT_EQ(device.live_bytes(), 0u);
}

TEST_F(Staging, PoolBlocksAtItsBudgetUntilMemoryComesBack) {
  StagingPool pool(device, tasks);
  auto held = std::make_shared<port::Buffer>(pool.acquire(8192, 10000, soon()).value());
  const Result<port::Buffer> late = pool.acquire(4096, 10000, clock.after(20ms));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), (Error{ErrorCode::timeout, "wait for staging memory: it did not come by the deadline"}));
  auto waiting = port::Future<void>::run(tasks, "acquire", [&]() -> Status {
    TRY(pool.acquire(4096, 10000, soon()));
    return {};
  });
  *held = {};
  EXPECT_TRUE(waiting->get(soon()));
  EXPECT_LE(pool.peak_bytes(), 10000u);
}

TEST_F(Staging, PoolRefusesWhatTheBudgetCanNeverHold) {
  StagingPool pool(device, tasks);
  EXPECT_EQ(pool.acquire(4097, 4096, soon()).error(),
            (Error{ErrorCode::invalid_argument, "staging: 4097 bytes are needed at once, the budget is 4096 bytes"}));
}

TEST_F(Staging, PoolTellsTheDevicesErrorAndCountsNothing) {
  backend::HostDevice small({.memory_bytes_max = 100});
  StagingPool pool(small, tasks);
  EXPECT_EQ(pool.acquire(101, 1000, soon()).error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(pool.held_bytes(), 0u);
}

TEST_F(Staging, PipeGivesValuesInOrderThenItsEnd) {
  Pipe<int> pipe(tasks, "a number");
  ASSERT_TRUE(pipe.push(1));
  ASSERT_TRUE(pipe.push(2));
  pipe.close();
  EXPECT_EQ(pipe.pop(soon()).value(), 1);
  EXPECT_EQ(pipe.pop(soon()).value(), 2);
  EXPECT_EQ(pipe.pop(soon()).value(), std::nullopt);
}

TEST_F(Staging, PipeGivesBothEndsItsFailureAndTheFirstCounts) {
  Pipe<int> pipe(tasks, "a number");
  ASSERT_TRUE(pipe.push(1));
  const Error error{ErrorCode::no_space, "full"};
  pipe.fail(error);
  pipe.fail({ErrorCode::io_error, "later"});
  EXPECT_EQ(pipe.pop(soon()).error(), error);
  EXPECT_EQ(pipe.push(2).error(), error);
}

TEST_F(Staging, PipeIsWaitedForUntilTheDeadline) {
  Pipe<int> pipe(tasks, "a number");
  EXPECT_EQ(pipe.pop(clock.after(20ms)).error(), (Error{ErrorCode::timeout, "wait for a number: it did not come by the deadline"}));
}

/// Three tensors, one of them strided in memory, as a segment.
struct Sample {
  format::SegmentLayout layout;
  std::vector<Bytes> buffers;
  std::vector<StridedBlock> memory;
  Bytes packed;
};

Sample sample() {
  Sample made;
  made.layout = *format::lay_out_segment({{"wide", DType::c64, {7, 9}, {{1, 2}, {5, 6}}, 0, 0, 0},
                                          {"empty", DType::f32, {0, 3}, {{0, 0}, {0, 3}}, 0, 0, 0},
                                          {"cube", DType::bf16, {6, 5, 4}, {{0, 1, 0}, {6, 3, 4}}, 0, 0, 0},
                                          {"bytes", DType::u8, {333}, {{3}, {330}}, 0, 0, 0}},
                                         100);
  for (const format::SegmentTensor& tensor : made.layout.tensors) {
    Dims room = tensor.box.size;
    if (!room.empty()) room.back() += 2;  // gaps between the rows
    const std::uint32_t element = size_bytes(tensor.dtype);
    Bytes& buffer = made.buffers.emplace_back(packed_block(nullptr, room, element).bytes());
    for (std::size_t i = 0; i < buffer.size(); ++i) buffer[i] = static_cast<std::byte>(i * 131 + tensor.offset);
  }
  for (std::size_t i = 0; i < made.buffers.size(); ++i) {
    const format::SegmentTensor& tensor = made.layout.tensors[i];
    Dims room = tensor.box.size;
    if (!room.empty()) room.back() += 2;
    const StridedBlock all = packed_block(made.buffers[i].data(), room, size_bytes(tensor.dtype));
    made.memory.push_back(narrow(all, Dims(room.size(), 0), tensor.box.size));
    Bytes packed(tensor.bytes);
    copy_block(made.memory.back(), packed_block(packed.data(), tensor.box.size, size_bytes(tensor.dtype)));
    made.packed.insert(made.packed.end(), packed.begin(), packed.end());
  }
  return made;
}

TEST_F(Staging, HoweverTheDataIsCutItsBytesAndDigestsAreThoseOfTheWhole) {
  const Sample whole = sample();
  for (const std::size_t window : {std::size_t{8}, std::size_t{16}, std::size_t{104}, std::size_t{240}, whole.packed.size()}) {
    Stager stager = Stager::open(env, {}, soon()).value();
    SegmentDigests digests;
    Bytes staged(whole.packed.size());
    for (std::size_t at = 0; at < staged.size(); at += window) {
      const ByteSpan into = ByteSpan(staged).subspan(at, std::min(window, staged.size() - at));
      ASSERT_TRUE(stager.stage(whole.layout, whole.memory, at, into, nullptr, digests));
    }
    EXPECT_EQ(staged, whole.packed) << window;
    for (std::size_t i = 0; i < whole.memory.size(); ++i) {
      const format::SegmentTensor& tensor = whole.layout.tensors[i];
      EXPECT_EQ(digests.tensors[i], tensor_digest(whole.memory[i], tensor.box, tensor.shape, tensor.dtype)) << tensor.name << " " << window;
    }
    ASSERT_EQ(digests.blocks.size(), whole.layout.block_count());
    for (std::size_t block = 0; block < digests.blocks.size(); ++block) {
      const format::SegmentBlock at = whole.layout.block(block);
      EXPECT_EQ(digests.blocks[block], block_digest(ByteView(whole.packed).subspan(at.offset, at.bytes))) << block << " " << window;
    }
  }
}

TEST_F(Staging, PlacesTheSameBytesAloneAndInTwoTasks) {
  const std::vector<Dims> sizes = {{5, 3}, {1, 1, 1}, {}, {1, 40}, {7, 2}};
  for (const std::uint64_t alone : {std::uint64_t{1} << 20, std::uint64_t{0}}) {
    std::vector<Bytes> sources, destinations;
    std::vector<Upload> parts;
    for (const Dims& size : sizes) {
      const StridedBlock shape = packed_block(nullptr, size, 1);
      sources.emplace_back(shape.bytes());
      destinations.emplace_back(shape.bytes());
      for (std::size_t i = 0; i < shape.bytes(); ++i) sources.back()[i] = static_cast<std::byte>(i * 7 + sources.size());
    }
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      parts.push_back({packed_block(sources[i].data(), sizes[i], 1), whole(sizes[i]), sizes[i], DType::u8,
                       packed_block(destinations[i].data(), sizes[i], 1)});
    }
    ASSERT_TRUE(upload(env, {}, parts, nullptr, alone, soon()));
    EXPECT_EQ(destinations, sources) << alone;
  }
}

TEST_F(Staging, WorkThatEndsWithATimeoutIsOver) {
  port::Unfinished unfinished(tasks.make_monitor());
  port::Promise<void> promise(tasks.make_monitor());
  unfinished.add(promise.future());
  EXPECT_FALSE(unfinished.await(clock.after(1ms)));
  EXPECT_FALSE(unfinished.empty());
  promise.set(fail(ErrorCode::timeout, "staging memory"));
  EXPECT_TRUE(unfinished.await(soon()));
  EXPECT_TRUE(unfinished.empty());
  EXPECT_TRUE(unfinished.await(soon()));
}

TEST_F(Staging, WorkThatLeavesWorkIsNotOver) {
  port::Unfinished unfinished(tasks.make_monitor());
  bool second_is_over = false;
  unfinished.add([&](port::Deadline) -> Status {
    unfinished.add([&](port::Deadline) -> Status {
      EXPECT_FALSE(unfinished.empty()) << "while somebody waits for it";
      second_is_over = true;
      return {};
    });
    return {};
  });
  EXPECT_TRUE(unfinished.await(soon()));
  EXPECT_TRUE(second_is_over);
}

}  // namespace
}  // namespace holdfast::protocol
