// What a TcpWorld adds to the conformance cases: texts, joining, ends of every kind, descriptors.
#include "impl/backend/tcp/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "impl/core/mark.h"
#include "tests/impl/backend/expect.h"
#include "tests/impl/backend/tcp/group.h"

namespace holdfast::backend {
namespace {

using port::Transfer;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using test::expect_ending;
using test::expect_error;
using test::HandRank;
using test::leave_all;
using test::run_ranks;
using test::soon;
using test::text;
using test::the_clock;

TEST(TcpWorld, SaysWhatItWaitedFor) {
  test::Worlds worlds = test::join_all(3, {.message_bytes_max = 10});
  port::Net& net = worlds[1]->net();
  EXPECT_EQ(worlds[1]->rank(), Rank{1});
  EXPECT_EQ(net.world_size(), 3);
  EXPECT_EQ(net.max_message_bytes(), 10u);
  expect_error(net.receive(Rank{0}, {7, 9}, the_clock.after(1ms)), ErrorCode::timeout,
               "receive from rank 0 (channel 7, sequence 9): nothing came by the deadline");
  expect_error(net.send(Rank{0}, {1, 1}, Bytes(11), soon()), ErrorCode::invalid_argument,
               "send to rank 0: a message of 11 bytes, at most 10 are allowed");
  expect_error(net.send(Rank{1}, {1, 1}, {}, soon()), ErrorCode::invalid_argument, "send to rank 1: that is this rank itself");
  expect_error(net.receive(Rank{1}, {1, 1}, soon()), ErrorCode::invalid_argument, "receive from rank 1: that is this rank itself");
  expect_error(net.send(Rank{3}, {1, 1}, {}, soon()), ErrorCode::invalid_argument, "send to rank 3: there are ranks 0 to 2");
  expect_error(net.receive(Rank{-1}, {1, 1}, soon()), ErrorCode::invalid_argument, "receive from rank -1: there are ranks 0 to 2");
  leave_all(worlds);
  expect_error(net.send(Rank{0}, {1, 1}, {}, soon()), ErrorCode::peer_lost, "send to rank 0: rank 1 has left");
  expect_error(net.receive(Rank{0}, {1, 1}, soon()), ErrorCode::peer_lost, "receive from rank 0 (channel 1, sequence 1): rank 1 has left");
}

TEST(TcpWorld, AWorldOfOneMeetsNobody) {
  auto world = TcpWorld::join({}, {}, the_clock.after(0ms)).value();
  expect_error(world->net().send(Rank{1}, {1, 1}, {}, soon()), ErrorCode::invalid_argument, "send to rank 1: there are ranks 0 to 0");
  Bytes from = to_bytes(as_bytes("self")), to(4);
  const Transfer send{Rank{0}, from, MemoryKind::host}, receive{Rank{0}, to, MemoryKind::host};
  ASSERT_TRUE(world->data().exchange("x", 1, {&send, 1}, {&receive, 1}, soon()));
  EXPECT_EQ(as_text(to), "self");
  EXPECT_TRUE(world->leave(the_clock.after(0ms)));
}

TEST(TcpWorld, MeetsAtASocketThatListensAlready) {
  Fd listener = listen_at("127.0.0.1", 0).value();
  const std::uint16_t port = local_address(listener).value().port();
  run_ranks(3, [&](Rank rank) {
    auto world = TcpWorld::join(test::place(rank.value, 3, port), {}, soon(), rank == Rank{0} ? std::move(listener) : Fd());
    ASSERT_TRUE(world) << world.error().message;
    EXPECT_TRUE((*world)->leave(soon()));
  });
}

TEST(TcpWorld, AMessageThatIsHereIsGivenAfterTheDeadlineToo) {
  test::Worlds worlds = test::join_all(2);
  ASSERT_TRUE(worlds[0]->net().send(Rank{1}, {1, 1}, Bytes(3), soon()));
  ASSERT_TRUE(worlds[0]->net().send(Rank{1}, {2, 1}, Bytes(3), soon()));
  ASSERT_TRUE(worlds[1]->net().receive(Rank{0}, {2, 1}, soon()));
  EXPECT_TRUE(worlds[1]->net().receive(Rank{0}, {1, 1}, {the_clock.now() - 1s}));
}

TEST(TcpWorld, StopsOnATagThatDoesNotRise) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        test::Worlds worlds = test::join_all(2);
        static_cast<void>(worlds[0]->net().send(Rank{1}, {4, 2}, {}, soon()));
        static_cast<void>(worlds[0]->net().send(Rank{1}, {4, 2}, {}, soon()));
      },
      "rank 0 sends sequence 2 after 2 to rank 1 on channel 4");
}

TEST(TcpWorld, EightRanksHearAThousandMessagesFromEachOther) {
  constexpr int world_size = 8;
  constexpr std::uint64_t messages = 1000;
  test::Worlds worlds = test::join_all(world_size);
  run_ranks(world_size, [&](Rank the_rank) {
    const int self = the_rank.value;
    port::Net& net = worlds[static_cast<std::size_t>(self)]->net();
    const auto target = [](int from, std::uint64_t i) {
      return static_cast<int>((static_cast<std::uint64_t>(from) + 1 + i % (world_size - 1)) % world_size);
    };
    for (std::uint64_t i = 1; i <= messages; ++i) {
      ASSERT_TRUE(net.send(Rank{target(self, i)}, {static_cast<std::uint32_t>(i % 3), i}, text(fmt::format("{}:{}", self, i)), soon()));
    }
    for (int from = 0; from < world_size; ++from) {
      for (std::uint64_t i = 1; i <= messages; ++i) {
        if (from == self || target(from, i) != self) continue;
        const auto got = net.receive(Rank{from}, {static_cast<std::uint32_t>(i % 3), i}, soon());
        ASSERT_TRUE(got) << got.error().message;
        ASSERT_EQ(as_text(got->view()), fmt::format("{}:{}", from, i));
      }
    }
  });
  leave_all(worlds);
}

TEST(TcpWorld, CallsThatCrossMakeOneConnection) {
  for (int round = 0; round < 30; ++round) {
    test::Worlds worlds = test::join_all(4);
    run_ranks(4, [&](Rank the_rank) {
      const int self = the_rank.value;
      port::Net& net = worlds[static_cast<std::size_t>(self)]->net();
      for (int to = 3; to > 0; --to) {
        if (to == self) continue;
        ASSERT_TRUE(net.send(Rank{to}, {1, 1}, text(fmt::format("{}", self)), soon()));
      }
      for (int from = 1; from < 4 && self != 0; ++from) {
        if (from == self) continue;
        const auto got = net.receive(Rank{from}, {1, 1}, soon());
        ASSERT_TRUE(got) << got.error().message;
        ASSERT_EQ(as_text(got->view()), fmt::format("{}", from));
      }
    });
    leave_all(worlds);
  }
}

// ---- joining -------------------------------------------------------------------------------------------------------------------------

/// What rank 1 of a world of two gets when rank 0 has port and secret of its own.
Result<std::unique_ptr<TcpWorld>> join_as(const Rendezvous& first, const Rendezvous& second, const TcpOptions& options = {}) {
  auto rank0 = std::async(std::launch::async, [&] { return TcpWorld::join(first, {}, the_clock.after(2s)); });
  auto joined = TcpWorld::join(second, options, the_clock.after(20s));
  rank0.wait();
  return joined;
}

TEST(TcpJoin, NamesWhoIsMissingAndWhoWasTurnedAway) {
  const std::uint16_t port = test::free_port();
  auto rank0 = std::async(std::launch::async, [&] { return TcpWorld::join(test::place(0, 4, port), {}, the_clock.after(1s)); });
  auto rank2 = std::async(std::launch::async, [&] { return TcpWorld::join(test::place(2, 4, port), {}, the_clock.after(20s)); });
  HandRank stranger(port);
  stranger.say(as_bytes("GET / HTTP/1.1\r\n\r\n"));
  const auto joined = rank0.get();
  ASSERT_FALSE(joined);
  EXPECT_EQ(joined.error().code, ErrorCode::timeout);
  const std::string start = fmt::format(
      "join the job, rank 0 of 4, told by variables, rank 0 at 127.0.0.1:{}: ranks 1,3 of 4 have not come "
      "by the deadline; turned away: 1, last 127.0.0.1:",
      port);
  EXPECT_EQ(joined.error().message.substr(0, start.size()), start);
  EXPECT_TRUE(joined.error().message.ends_with(": handshake: it begins with 20544547; expected 73684648")) << joined.error().message;
  expect_ending(rank2.get(), ErrorCode::peer_lost, fmt::format("rank 0 is lost: rank 0 at 127.0.0.1:{}: it closed the connection", port));
}

TEST(TcpJoin, WaitsForRankZeroAndSaysThatItIsNotThere) {
  const std::uint16_t port = test::free_port();
  expect_error(
      TcpWorld::join(test::place(1, 2, port), {}, the_clock.after(200ms)), ErrorCode::timeout,
      fmt::format("join the job, rank 1 of 2, told by variables, rank 0 at 127.0.0.1:{0}: receive from rank 0 (channel 0, sequence "
                  "1): no connection by the deadline; rank 0 at 127.0.0.1:{0}: Connection refused",
                  port));
  auto late = std::async(std::launch::async, [&] {
    std::this_thread::sleep_for(300ms);
    return TcpWorld::join(test::place(0, 2, port), {}, soon());
  });
  const auto joined = TcpWorld::join(test::place(1, 2, port), {}, soon());
  EXPECT_TRUE(joined) << joined.error().message;
  EXPECT_TRUE(late.get());
}

TEST(TcpJoin, MeetsUnderEveryKindOfAddress) {
  for (const char* host : {"localhost", "127.0.0.1", "::1", "0.0.0.0"}) {
    const std::uint16_t port = test::free_port();
    if (!listen_at(host, port)) continue;  // no IPv6 here
    std::vector<std::future<Status>> ranks;
    for (int rank = 0; rank < 3; ++rank) {
      ranks.push_back(std::async(std::launch::async, [&, rank]() -> Status {
        Rendezvous here = test::place(rank, 3, port);
        here.master_address = host;
        const auto world = TRY(TcpWorld::join(here, {}, soon()));
        for (int peer = 0; peer < 3; ++peer) {
          if (peer != rank) TRY(world->net().send(Rank{peer}, {1, 1}, {}, soon()));
        }
        for (int peer = 0; peer < 3; ++peer) {
          if (peer != rank) TRY(world->net().receive(Rank{peer}, {1, 1}, soon()));
        }
        return world->leave(soon());
      }));
    }
    for (auto& rank : ranks) {
      const Status met = rank.get();
      EXPECT_TRUE(met) << host << ": " << met.error().message;
    }
  }
}

TEST(TcpJoin, RefusesAnotherSecretAnotherJobAnotherWorldAndOtherLimits) {
  const std::string wrong_proof =
      "handshake: its proof is not made with this job's secret; expected equal HOLDFAST_JOB_SECRET and job id on all ranks";
  const auto try_with = [](auto change, const TcpOptions& options = {}) {
    const std::uint16_t port = test::free_port();
    Rendezvous second = test::place(1, 2, port);
    change(second);
    return join_as(test::place(0, 2, port), second, options);
  };
  expect_ending(try_with([](Rendezvous& r) { r.secret = "the secret of another"; }), ErrorCode::peer_lost, wrong_proof);
  expect_ending(try_with([](Rendezvous& r) { r.job_id = "other"; }), ErrorCode::peer_lost, wrong_proof);
  expect_ending(try_with([](Rendezvous& r) { r.world_size = 3; }), ErrorCode::peer_lost,
                "it refuses: rank 1 has a world of 3 ranks, rank 0 one of 2");
  expect_ending(try_with([](Rendezvous&) {}, {.message_bytes_max = 5}), ErrorCode::peer_lost,
                "it refuses: rank 1 has messages of 5 bytes at most, rank 0 of 67108864");
}

TEST(TcpJoin, RefusesASecondProcessOfOneRank) {
  const std::uint16_t port = test::free_port();
  auto rank0 = std::async(std::launch::async, [&] { return TcpWorld::join(test::place(0, 3, port), {}, the_clock.after(2s)); });
  auto first = std::async(std::launch::async, [&] { return TcpWorld::join(test::place(1, 3, port), {}, the_clock.after(20s)); });
  auto second = std::async(std::launch::async, [&] { return TcpWorld::join(test::place(1, 3, port), {}, the_clock.after(20s)); });
  const auto one = first.get(), other = second.get();
  ASSERT_TRUE(!one && !other);
  const bool one_refused = one.error().message.find("it refuses: rank 1 is here already, from 127.0.0.1:") != std::string::npos;
  const bool other_refused = other.error().message.find("it refuses: rank 1 is here already, from 127.0.0.1:") != std::string::npos;
  EXPECT_NE(one_refused, other_refused) << one.error().message << "\n" << other.error().message;
  EXPECT_EQ(rank0.get().error().code, ErrorCode::timeout) << "the first stays welcome; rank 2 never comes";
}

TEST(TcpJoin, SaysThatAPortIsInUseAndAHostUnknown) {
  const std::uint16_t port = test::free_port();
  const Fd taken = listen_at("127.0.0.1", port).value();
  expect_error(
      TcpWorld::join(test::place(0, 2, port), {}, the_clock.after(300ms)), ErrorCode::already_exists,
      fmt::format("join the job, rank 0 of 2, told by variables, rank 0 at 127.0.0.1:{0}: listen at 127.0.0.1:{0}: Address already in "
                  "use",
                  port));
  Rendezvous nowhere = test::place(1, 2, port);
  nowhere.master_address = "no such host";
  const auto joined = TcpWorld::join(nowhere, {}, soon());
  ASSERT_FALSE(joined);
  EXPECT_NE(joined.error().message.find(": look up host no such host: "), std::string::npos) << joined.error().message;
  expect_error(TcpWorld::join(test::place(0, 2, port), {.message_bytes_max = 0}, soon()), ErrorCode::invalid_argument,
               "join the job: messages of 0 bytes at most; expected 1 to 4294967295");
}

TEST(TcpJoin, WaitsForAPortThatAnotherProcessHasForAWhile) {
  const std::uint16_t port = test::free_port();
  Fd taken = listen_at("127.0.0.1", port).value();
  auto rank0 = std::async(std::launch::async, [&] { return TcpWorld::join(test::place(0, 2, port), {}, soon()); });
  const auto until = the_clock.now() + 10s;
  while (!mark_hits().contains("tcp.port_in_use") && the_clock.now() < until) std::this_thread::sleep_for(1ms);
  taken.reset();
  const auto rank1 = TcpWorld::join(test::place(1, 2, port), {}, soon());
  EXPECT_TRUE(rank1) << rank1.error().message;
  EXPECT_TRUE(rank0.get());
}

TEST(TcpJoin, FailsAtOnceWhenARankLeavesBeforeAllHaveCome) {
  const std::uint16_t port = test::free_port();
  auto rank0 = std::async(std::launch::async, [&] { return TcpWorld::join(test::place(0, 3, port), {}, soon()); });
  {
    const JobKey key = JobKey::make("the secret of a test", "test").value();
    HandRank rank1(port);
    EXPECT_EQ(rank1.greet({.from = Rank{1}, .world_size = 3, .message_bytes_max = 64 << 20}, key)->verdict, Verdict::welcome);
  }
  const auto began = the_clock.now();
  expect_ending(rank0.get(), ErrorCode::peer_lost, "it closed the connection");
  EXPECT_LT(the_clock.now() - began, 10s);
}

// ---- ends ----------------------------------------------------------------------------------------------------------------------------

TEST(TcpEnds, ARankWhoseProcessEndsIsLostAtOnceAndForGood) {
  test::Worlds worlds = test::join_all(3);
  ASSERT_TRUE(worlds[1]->net().send(Rank{2}, {1, 1}, text("hello"), soon()));
  ASSERT_TRUE(worlds[2]->net().receive(Rank{1}, {1, 1}, soon()));
  std::thread waiter([&] {
    const auto got = worlds[2]->net().receive(Rank{1}, {1, 2}, soon());
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ErrorCode::peer_lost);
    EXPECT_NE(got.error().message.find("receive from rank 1 (channel 1, sequence 2): rank 1 is lost: rank 1 at 127.0.0.1:"),
              std::string::npos)
        << got.error().message;
  });
  std::this_thread::sleep_for(20ms);
  const auto began = the_clock.now();
  worlds[1].reset();
  waiter.join();
  EXPECT_FALSE(worlds[0]->net().receive(Rank{1}, {1, 1}, soon()));
  EXPECT_LT(the_clock.now() - began, 10s);
  EXPECT_EQ(worlds[0]->net().send(Rank{1}, {1, 1}, {}, soon()).error().code, ErrorCode::peer_lost);
}

TEST(TcpEnds, ARankThatWasNeverConnectedIsFoundLostToo) {
  test::Worlds worlds = test::join_all(3);
  worlds[1].reset();
  const auto began = the_clock.now();
  expect_ending(worlds[2]->net().receive(Rank{1}, {1, 1}, soon()), ErrorCode::peer_lost, ": Connection refused");
  EXPECT_LT(the_clock.now() - began, 10s);
}

TEST(TcpEnds, ARankThatHasLeftSaysSo) {
  test::Worlds worlds = test::join_all(3);
  ASSERT_TRUE(worlds[1]->leave(soon()));
  expect_ending(worlds[2]->net().receive(Rank{1}, {1, 1}, soon()), ErrorCode::peer_lost, ": it refuses: rank 1 has left");
}

TEST(TcpEnds, WhatWasSentBeforeLeavingArrives) {
  constexpr std::size_t large = 8 << 20;
  for (int round = 0; round < 20; ++round) {
    test::Worlds worlds = test::join_all(3);
    // Rank 2 sends as well, so that there is something unread where the other end closes.
    ASSERT_TRUE(worlds[2]->net().send(Rank{1}, {9, 1}, Bytes(large), soon()));
    ASSERT_TRUE(worlds[1]->net().send(Rank{2}, {1, 1}, Bytes(large, std::byte{5}), soon()));
    ASSERT_TRUE(worlds[1]->net().send(Rank{2}, {1, 2}, text("last"), soon()));
    const Status left = worlds[1]->leave(soon());
    ASSERT_TRUE(left) << left.error().message;
    worlds[1].reset();
    const auto first = worlds[2]->net().receive(Rank{1}, {1, 1}, soon());
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_EQ(first->size(), large);
    EXPECT_EQ(as_text(worlds[2]->net().receive(Rank{1}, {1, 2}, soon())->view()), "last");
    EXPECT_EQ(worlds[2]->net().receive(Rank{1}, {1, 3}, soon()).error().code, ErrorCode::peer_lost);
  }
}

TEST(TcpEnds, LeavingAndEndingWorkInEveryOrderAndLeaveNoDescriptor) {
  const auto once = [](int how) {
    test::Worlds worlds = test::join_all(3);
    ASSERT_TRUE(worlds[2]->net().send(Rank{1}, {1, 1}, Bytes(100'000), soon()));
    std::thread waiter([&] { static_cast<void>(worlds[1]->net().receive(Rank{2}, {1, 9}, the_clock.after(how % 2 ? 0ms : 30ms))); });
    if (how == 0) leave_all(worlds);
    if (how == 1) static_cast<void>(worlds[0]->leave(the_clock.after(0ms)));
    waiter.join();
    if (how == 2) std::ranges::reverse(worlds);
    for (auto& world : worlds) world.reset();
  };
  once(3);  // whatever the library opens once
  const std::size_t before = test::open_descriptors();
  for (int how = 0; how < 4; ++how) once(how);
  EXPECT_EQ(test::open_descriptors(), before);
}

}  // namespace
}  // namespace holdfast::backend
