// The exchanges of a TcpWorld beyond the conformance cases: texts, ends, several at once.
#include <gtest/gtest.h>

#include <thread>

#include "impl/backend/tcp/world.h"
#include "tests/impl/backend/expect.h"
#include "tests/impl/backend/tcp/group.h"

namespace holdfast::backend {
namespace {

using port::Transfer;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using test::expect_error;
using test::leave_all;
using test::run_ranks;
using test::soon;
using test::text;
using test::the_clock;

TEST(TcpDataPlane, NamesAMismatchedExchangeTheSameOnBothSides) {
  test::Worlds worlds = test::join_all(2);
  Bytes memory(64);
  std::uint64_t sequence = 2;
  const auto part = [&](Rank peer, std::size_t bytes) { return Transfer{peer, ByteSpan(memory).first(bytes), MemoryKind::host}; };
  const auto both = [&](std::vector<Transfer> sends, std::vector<Transfer> receives, std::string_view message) {
    ++sequence;
    run_ranks(2, [&](Rank the_rank) {
      const int self = the_rank.value;
      port::DataPlane& data = worlds[static_cast<std::size_t>(self)]->data();
      expect_error(self == 0 ? data.exchange("x", sequence, sends, {}, soon()) : data.exchange("x", sequence, {}, receives, soon()),
                   ErrorCode::invalid_argument, message);
    });
  };
  both({part(Rank{1}, 4), part(Rank{1}, 8)}, {part(Rank{0}, 4), part(Rank{0}, 9)},
       "exchange \"x\" #3: send 1 from rank 0 to rank 1 has 8 bytes, its receive has 9");
  both({part(Rank{1}, 4), part(Rank{1}, 8)}, {part(Rank{0}, 4)},
       "exchange \"x\" #4: rank 0 has 2 sends to rank 1, which has 1 receives from it");
  expect_error(worlds[0]->data().exchange("x", 4, {}, {}, soon()), ErrorCode::invalid_argument,
               "exchange \"x\" #4: it comes after #4; expected a higher number");
}

TEST(TcpDataPlane, SaysWhomItStillWaitsFor) {
  test::Worlds worlds = test::join_all(4);
  Bytes memory(8);
  const std::vector<Transfer> sends = {{Rank{1}, memory, MemoryKind::host}, {Rank{3}, memory, MemoryKind::host}};
  expect_error(worlds[0]->data().exchange("x", 1, sends, {}, the_clock.after(1ms)), ErrorCode::timeout,
               "exchange \"x\" #1: rank 0 still waits for ranks 1,3 at the deadline");
  const Transfer outside{Rank{4}, memory, MemoryKind::host}, device{Rank{1}, memory, MemoryKind::device};
  expect_error(worlds[0]->data().exchange("x", 2, {&outside, 1}, {}, soon()), ErrorCode::invalid_argument,
               "exchange \"x\" #2 on rank 0: peer 4, there are ranks 0 to 3");
  expect_error(worlds[0]->data().exchange("x", 2, {}, {&device, 1}, soon()), ErrorCode::invalid_argument,
               "exchange \"x\" #2 on rank 0: device memory, the TCP data plane moves host memory");
}

TEST(TcpDataPlane, AbortAndEndsEndTheExchangesThatWait) {
  test::Worlds worlds = test::join_all(4);
  Bytes memory(8);
  const auto waits_for = [&](int self, int peer, ErrorCode code, std::string message) {
    return std::thread([&, self, peer, code, message] {
      const Transfer transfer{Rank{peer}, memory, MemoryKind::host};
      const Status done =
          worlds[static_cast<std::size_t>(self)]->data().exchange("x", static_cast<std::uint64_t>(self), {}, {&transfer, 1}, soon());
      ASSERT_FALSE(done);
      EXPECT_EQ(done.error().code, code);
      EXPECT_EQ(done.error().message.substr(0, message.size()), message);
    });
  };
  std::thread own = waits_for(0, 3, ErrorCode::aborted, "exchange \"x\" #0: rank 0 aborted its data plane");
  std::thread peer = waits_for(1, 0, ErrorCode::peer_lost, "exchange \"x\" #1: rank 0 aborted its data plane");
  std::thread lost = waits_for(2, 3, ErrorCode::peer_lost, "exchange \"x\" #2: rank 3 is lost: rank 3 at 127.0.0.1:");
  std::this_thread::sleep_for(20ms);
  worlds[0]->data().abort();
  own.join();
  peer.join();
  worlds[3].reset();
  lost.join();
  const Transfer late{Rank{0}, memory, MemoryKind::host};
  expect_error(worlds[2]->data().exchange("y", 1, {}, {&late, 1}, soon()), ErrorCode::peer_lost,
               "exchange \"y\" #1: rank 0 aborted its data plane");
}

TEST(TcpDataPlane, LargeExchangesOfSeveralNamesRunAtTheSameTime) {
  constexpr int world_size = 3;
  constexpr std::size_t bytes = (5 << 20) + 3;
  test::Worlds worlds = test::join_all(world_size, {.unsent_bytes_max = 1 << 20});
  run_ranks(world_size, [&](Rank the_rank) {
    const int self = the_rank.value;
    const auto ring = [&](const char* name, char mark) {
      for (std::uint64_t i = 1; i <= 4; ++i) {
        Bytes out(bytes, std::byte(static_cast<std::uint8_t>(mark + self))), in(bytes);
        const Rank next{(self + 1) % world_size}, before{(self + world_size - 1) % world_size};
        const Transfer send{next, out, MemoryKind::host}, receive{before, in, MemoryKind::host};
        const Status done = worlds[static_cast<std::size_t>(self)]->data().exchange(name, i, {&send, 1}, {&receive, 1}, soon());
        ASSERT_TRUE(done) << done.error().message;
        ASSERT_EQ(in, Bytes(bytes, std::byte(static_cast<std::uint8_t>(mark + before.value))));
      }
    };
    std::thread beside([&] { ring("beside", 'a'); });
    ring("main", 'A');
    beside.join();
  });
  leave_all(worlds);
}

}  // namespace
}  // namespace holdfast::backend
