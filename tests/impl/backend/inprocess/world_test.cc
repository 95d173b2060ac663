// What the in-process group adds to the conformance cases: texts, sharing, load, and ends from other threads.
#include "impl/backend/inprocess/world.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "impl/backend/host/clock.h"
#include "tests/impl/backend/expect.h"

namespace holdfast::backend {
namespace {

using port::Transfer;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using test::expect_error;
using test::run_ranks;

class InProcessWorldTest : public testing::Test {
 protected:
  port::Deadline soon() { return clock.after(60s); }
  SteadyClock clock;
};

TEST_F(InProcessWorldTest, SharesMessagesAndNeverCopiesThem) {
  InProcessWorld world(2);
  const SharedBytes message(Bytes(100));
  ASSERT_TRUE(world.net(Rank{0}).send(Rank{1}, {1, 1}, message, soon()));
  EXPECT_EQ(world.net(Rank{1}).receive(Rank{0}, {1, 1}, soon()).value().view().data(), message.view().data());
  EXPECT_EQ(message.owner().use_count(), 2) << "the mailbox kept a message that was received";
}

TEST_F(InProcessWorldTest, SaysWhatItWaitedFor) {
  InProcessWorld world(3, {.message_bytes_max = 10});
  port::Net& net = world.net(Rank{1});
  expect_error(net.receive(Rank{0}, {7, 9}, clock.after(1ms)), ErrorCode::timeout,
               "receive from rank 0 (channel 7, sequence 9): nothing came by the deadline");
  expect_error(net.send(Rank{0}, {1, 1}, Bytes(11), soon()), ErrorCode::invalid_argument,
               "send to rank 0: a message of 11 bytes, at most 10 are allowed");
  expect_error(net.send(Rank{1}, {1, 1}, {}, soon()), ErrorCode::invalid_argument, "send to rank 1: that is this rank itself");
  expect_error(net.receive(Rank{1}, {1, 1}, soon()), ErrorCode::invalid_argument, "receive from rank 1: that is this rank itself");
  expect_error(net.send(Rank{3}, {1, 1}, {}, soon()), ErrorCode::invalid_argument, "send to rank 3: there are ranks 0 to 2");
  expect_error(net.receive(Rank{-1}, {1, 1}, soon()), ErrorCode::invalid_argument, "receive from rank -1: there are ranks 0 to 2");
}

TEST_F(InProcessWorldTest, AMessageThatIsHereIsGivenAfterTheDeadlineToo) {
  InProcessWorld world(2);
  ASSERT_TRUE(world.net(Rank{0}).send(Rank{1}, {1, 1}, Bytes(3), soon()));
  EXPECT_TRUE(world.net(Rank{1}).receive(Rank{0}, {1, 1}, {clock.now() - 1s}));
}

TEST_F(InProcessWorldTest, StopsOnATagThatDoesNotRise) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  InProcessWorld world(2);
  ASSERT_TRUE(world.net(Rank{0}).send(Rank{1}, {4, 2}, {}, soon()));
  EXPECT_DEATH(static_cast<void>(world.net(Rank{0}).send(Rank{1}, {4, 2}, {}, soon())),
               "rank 0 sends sequence 2 after 2 to rank 1 on channel 4");
}

TEST_F(InProcessWorldTest, LeavingEndsTheWaitsOfOthersAndOfTheRankItself) {
  InProcessWorld world(2);
  ASSERT_TRUE(world.net(Rank{0}).send(Rank{1}, {1, 1}, Bytes(1), soon()));
  std::thread other([&] {
    expect_error(world.net(Rank{0}).receive(Rank{1}, {1, 1}, soon()), ErrorCode::peer_lost,
                 "receive from rank 1 (channel 1, sequence 1): rank 1 has left");
  });
  std::thread self([&] {
    expect_error(world.net(Rank{1}).receive(Rank{0}, {2, 1}, soon()), ErrorCode::peer_lost,
                 "receive from rank 0 (channel 2, sequence 1): rank 1 has left");
  });
  std::this_thread::sleep_for(20ms);
  world.leave(Rank{1});
  other.join();
  self.join();
  world.leave(Rank{1});
  expect_error(world.net(Rank{0}).send(Rank{1}, {1, 2}, {}, soon()), ErrorCode::peer_lost, "send to rank 1: rank 1 has left");
  expect_error(world.net(Rank{1}).send(Rank{0}, {1, 2}, {}, soon()), ErrorCode::peer_lost, "send to rank 0: rank 1 has left");
}

TEST_F(InProcessWorldTest, EightThreadsHearAThousandMessagesFromEachOther) {
  constexpr int world_size = 8;
  constexpr std::uint64_t messages = 1000;
  InProcessWorld world(world_size);
  run_ranks(world_size, [&](Rank self) {
    port::Net& net = world.net(self);
    for (std::uint64_t i = 1; i <= messages; ++i) {
      const Rank to{static_cast<int>((static_cast<std::uint64_t>(self.value) + 1 + i % (world_size - 1)) % world_size)};
      ASSERT_TRUE(net.send(to, {static_cast<std::uint32_t>(i % 3), i}, to_bytes(as_bytes(fmt::format("{}:{}", self, i))), soon()));
    }
    for (int from = 0; from < world_size; ++from) {
      for (std::uint64_t i = 1; i <= messages; ++i) {
        const auto to = (static_cast<std::uint64_t>(from) + 1 + i % (world_size - 1)) % world_size;
        if (from == self.value || to != static_cast<std::uint64_t>(self.value)) continue;
        const auto got = net.receive(Rank{from}, {static_cast<std::uint32_t>(i % 3), i}, soon());
        ASSERT_TRUE(got) << got.error().message;
        ASSERT_EQ(as_text(got->view()), fmt::format("{}:{}", from, i));
      }
    }
  });
}

TEST_F(InProcessWorldTest, NamesAMismatchedExchangeTheSameOnBothSides) {
  InProcessWorld world(2);
  Bytes memory(64);
  const auto part = [&](Rank peer, std::size_t bytes) { return Transfer{peer, ByteSpan(memory).first(bytes), MemoryKind::host}; };
  const auto both = [&](std::vector<Transfer> sends, std::vector<Transfer> receives, std::string_view message) {
    run_ranks(2, [&](Rank self) {
      const Status result =
          self == Rank{0} ? world.data(self).exchange("x", 3, sends, {}, soon()) : world.data(self).exchange("x", 3, {}, receives, soon());
      expect_error(result, ErrorCode::invalid_argument, message);
    });
  };
  both({part(Rank{1}, 4), part(Rank{1}, 8)}, {part(Rank{0}, 4), part(Rank{0}, 9)},
       "exchange \"x\" #3: send 1 from rank 0 to rank 1 has 8 bytes, its receive has 9");
  both({part(Rank{1}, 4), part(Rank{1}, 8)}, {part(Rank{0}, 4)},
       "exchange \"x\" #3: rank 0 has 2 sends to rank 1, which has 1 receives from it");
}

TEST_F(InProcessWorldTest, NamesAnExchangeThatOneSideOnlyExpects) {
  InProcessWorld world(3);
  Bytes memory(8);
  const std::string message = "exchange \"x\" #1: rank 0 has 1 sends to rank 1, which has 0 receives from it";
  run_ranks(2, [&](Rank self) {
    // Rank 1 waits for rank 2, which never comes, and so is still there when rank 0 comes.
    const Transfer transfer{self == Rank{0} ? Rank{1} : Rank{2}, memory, MemoryKind::host};
    expect_error(world.data(self).exchange("x", 1, {&transfer, 1}, {}, soon()), ErrorCode::invalid_argument, message);
  });
}

TEST_F(InProcessWorldTest, SaysWhomAnExchangeStillWaitsFor) {
  InProcessWorld world(4);
  Bytes memory(8);
  const std::vector<Transfer> sends = {{Rank{1}, memory, MemoryKind::host}, {Rank{3}, memory, MemoryKind::host}};
  expect_error(world.data(Rank{0}).exchange("x", 1, sends, {}, clock.after(1ms)), ErrorCode::timeout,
               "exchange \"x\" #1: rank 0 still waits for ranks 1,3 at the deadline");
  const Transfer outside{Rank{4}, memory, MemoryKind::host};
  expect_error(world.data(Rank{0}).exchange("x", 2, {&outside, 1}, {}, soon()), ErrorCode::invalid_argument,
               "exchange \"x\" #2 on rank 0: peer 4, there are ranks 0 to 3");
  const Transfer device{Rank{1}, memory, MemoryKind::device};
  expect_error(world.data(Rank{0}).exchange("x", 2, {}, {&device, 1}, soon()), ErrorCode::invalid_argument,
               "exchange \"x\" #2 on rank 0: device memory, the in-process data plane moves host memory");
}

TEST_F(InProcessWorldTest, ExchangesWithOneself) {
  InProcessWorld world(1);
  Bytes from = to_bytes(as_bytes("self")), to(4);
  const Transfer send{Rank{0}, from, MemoryKind::host}, receive{Rank{0}, to, MemoryKind::host};
  ASSERT_TRUE(world.data(Rank{0}).exchange("x", 1, {&send, 1}, {&receive, 1}, soon()));
  EXPECT_EQ(as_text(to), "self");
  expect_error(world.data(Rank{0}).exchange("x", 2, {&send, 1}, {}, soon()), ErrorCode::invalid_argument,
               "exchange \"x\" #2: rank 0 has 1 sends to rank 0, which has 0 receives from it");
}

TEST_F(InProcessWorldTest, AbortAndLeaveEndTheExchangesThatWait) {
  InProcessWorld world(4);
  Bytes memory(8);
  const auto waits_for = [&](int self, int peer, ErrorCode code, std::string_view message) {
    return std::thread([&, self, peer, code, message] {
      const Transfer transfer{Rank{peer}, memory, MemoryKind::host};
      expect_error(world.data(Rank{self}).exchange("x", static_cast<std::uint64_t>(self), {}, {&transfer, 1}, soon()), code, message);
    });
  };
  std::thread own = waits_for(0, 3, ErrorCode::aborted, "exchange \"x\" #0: rank 0 aborted its data plane");
  std::thread peer = waits_for(1, 0, ErrorCode::peer_lost, "exchange \"x\" #1: rank 0 aborted its data plane");
  std::thread lost = waits_for(2, 3, ErrorCode::peer_lost, "exchange \"x\" #2: rank 3 has left");
  std::this_thread::sleep_for(20ms);
  world.data(Rank{0}).abort();
  own.join();
  peer.join();
  world.leave(Rank{3});
  lost.join();
}

TEST_F(InProcessWorldTest, AnExchangeThatTimesOutInAMeetingLeavesItsMemoryAlone) {
  constexpr std::size_t bytes = 1 << 20;
  InProcessWorld world(2);
  std::atomic<int> met{0}, late{0};
  run_ranks(2, [&](Rank self) {
    for (std::uint64_t i = 0; i < 300; ++i) {
      const auto memory = std::make_unique<Bytes>(bytes);  // fresh: a copy after the return would be a use after free
      const Transfer transfer{Rank{1 - self.value}, *memory, MemoryKind::host};
      const std::span<const Transfer> mine(&transfer, 1);
      const port::Deadline deadline = clock.after(std::chrono::microseconds(i));
      const Status done =
          self == Rank{0} ? world.data(self).exchange("x", i, mine, {}, deadline) : world.data(self).exchange("x", i, {}, mine, deadline);
      ++(done ? met : late);
      EXPECT_TRUE(done || done.error().code == ErrorCode::timeout) << done.error().message;
    }
  });
  EXPECT_EQ(met + late, 600);
}

TEST_F(InProcessWorldTest, ConcurrentExchangesOfOneRankAreKeptApartByName) {
  constexpr int world_size = 3;
  InProcessWorld world(world_size);
  run_ranks(world_size, [&](Rank self) {
    const auto ring = [&](const char* name, char mark) {
      for (std::uint64_t i = 1; i <= 200; ++i) {
        Bytes out(100, std::byte(static_cast<std::uint8_t>(mark + self.value))), in(100);
        const Rank next{(self.value + 1) % world_size}, before{(self.value + world_size - 1) % world_size};
        const Transfer send{next, out, MemoryKind::host}, receive{before, in, MemoryKind::host};
        const Status done = world.data(self).exchange(name, i, {&send, 1}, {&receive, 1}, soon());
        ASSERT_TRUE(done) << done.error().message;
        ASSERT_EQ(in, Bytes(100, std::byte(static_cast<std::uint8_t>(mark + before.value))));
      }
    };
    std::thread beside([&] { ring("beside", 'a'); });
    ring("main", 'A');
    beside.join();
  });
}

}  // namespace
}  // namespace holdfast::backend
