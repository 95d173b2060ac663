// What a TcpWorld adds to the conformance cases: texts, joining, ends of every kind, what strangers and broken peers send, descriptors.
#include "impl/backend/tcp/world.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <algorithm>
#include <random>
#include <thread>

#include "impl/core/mark.h"
#include "tests/impl/backend/tcp/group.h"

namespace holdfast::backend {
namespace {

using port::Transfer;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using test::HandRank;

SteadyClock the_clock;
port::Deadline soon() { return the_clock.after(60s); }

template <typename T>
void expect_error(const Result<T>& result, ErrorCode code, std::string_view message) {
  ASSERT_FALSE(result) << "expected " << message;
  EXPECT_EQ(result.error().message, message);
  EXPECT_EQ(to_string(result.error().code), to_string(code)) << message;
}

template <typename T>
void expect_ending(const Result<T>& result, ErrorCode code, std::string_view ending) {
  ASSERT_FALSE(result) << "expected " << ending;
  EXPECT_TRUE(result.error().message.ends_with(ending)) << result.error().message << "\nexpected the ending\n" << ending;
  EXPECT_EQ(to_string(result.error().code), to_string(code));
}

SharedBytes text(std::string_view words) { return to_bytes(as_bytes(words)); }

/// Runs rank_main(rank) on a thread for each rank.
template <typename RankMain>
void run_ranks(int world_size, RankMain rank_main) {
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < world_size; ++rank) ranks.emplace_back([&rank_main, rank] { rank_main(rank); });
  for (std::thread& rank : ranks) rank.join();
}

void leave_all(test::Worlds& worlds) {
  run_ranks(static_cast<int>(worlds.size()), [&](int rank) {
    const Status left = worlds[static_cast<std::size_t>(rank)]->leave(soon());
    EXPECT_TRUE(left) << left.error().message;
  });
}

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
  run_ranks(world_size, [&](int self) {
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
    run_ranks(4, [&](int self) {
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
      TcpWorld::join(test::place(0, 2, port), {}, soon()), ErrorCode::io_error,
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

// ---- strangers and broken peers ------------------------------------------------------------------------------------------------------

/// Rank 0 of a world of two whose rank 1 speaks by hand.
class TcpPeer : public testing::Test {
 protected:
  TcpPeer() {
    auto joining = std::async(std::launch::async, [&] { return TcpWorld::join(test::place(0, 2, port), options, soon()); });
    peer = std::make_unique<HandRank>(port);
    EXPECT_EQ(peer->greet(hello(), key)->verdict, Verdict::welcome);
    world = joining.get().value();
    const Bytes table = peer->hear(frame_head_bytes);
    EXPECT_EQ(peer->hear(std::to_integer<std::size_t>(table.at(20))).size(), 11u);
  }
  Hello hello() const { return {.from = Rank{1}, .world_size = 2, .message_bytes_max = 1000}; }
  void expect_lost(std::string_view why) {
    const auto got = world->net().receive(Rank{1}, {77, 1}, soon());
    expect_ending(got, ErrorCode::peer_lost, why);
    EXPECT_NE(got.error().message.find("rank 1 is lost: rank 1 at 127.0.0.1:"), std::string::npos) << got.error().message;
  }
  const TcpOptions options{.message_bytes_max = 1000, .unsent_bytes_max = 4000, .handshake_limit = 300ms};
  const JobKey key = JobKey::make("the secret of a test", "test").value();
  const std::uint16_t port = test::free_port();
  std::unique_ptr<HandRank> peer;
  std::unique_ptr<TcpWorld> world;
};

TEST_F(TcpPeer, WhatCameBeforeABadFrameCounts) {
  peer->say_frame(FrameKind::message, {1, 1}, "good");
  peer->say(as_bytes(std::string(200, 'x')));
  expect_lost("frame head: it begins with 78787878; expected 72664648");
  EXPECT_TRUE(peer->closed());
  EXPECT_EQ(as_text(world->net().receive(Rank{1}, {1, 1}, soon())->view()), "good");
}

TEST_F(TcpPeer, AMessageOverTheLimitIsRefusedBeforeItComes) {
  peer->say(frame_head(FrameKind::message, {3, 4}, Bytes(1001)));
  expect_lost("frame (channel 3, sequence 4): 1001 bytes announced; at most 1000 are allowed");
}

TEST_F(TcpPeer, AChangedPayloadIsNotHandedOut) {
  const Bytes payload(100);
  peer->say(frame_head(FrameKind::message, {1, 1}, payload));
  Bytes changed = payload;
  changed[50] = std::byte{1};
  peer->say(changed);
  expect_lost(fmt::format("frame (channel 1, sequence 1): its bytes give digest {}; expected {}", to_string(block_digest(changed)),
                          to_string(block_digest(payload))));
}

TEST_F(TcpPeer, ATagThatDoesNotRiseEndsTheConnection) {
  peer->say_frame(FrameKind::message, {1, 5}, "five");
  peer->say_frame(FrameKind::message, {1, 5}, "again");
  expect_lost("frame (channel 1, sequence 5): expected a sequence above 5");
}

TEST_F(TcpPeer, AnEndWithinAMessageIsAnEnd) {
  peer->say(frame_head(FrameKind::message, {1, 1}, Bytes(500)));
  peer->say(Bytes(100));
  peer.reset();
  expect_lost("it closed the connection");
}

TEST_F(TcpPeer, WhoTakesNothingMakesASendWaitForItsDeadline) {
  Status sent;
  std::uint64_t sequence = 0;
  while (sent && sequence < 100'000) sent = world->net().send(Rank{1}, {1, ++sequence}, Bytes(1000), the_clock.after(200ms));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::timeout);
  EXPECT_TRUE(sent.error().message.starts_with("send to rank 1: ")) << sent.error().message;
  EXPECT_TRUE(sent.error().message.ends_with(" bytes that were sent before are still here at the deadline")) << sent.error().message;
  expect_error(world->net().receive(Rank{1}, {1, 1}, the_clock.after(1ms)), ErrorCode::timeout,
               "receive from rank 1 (channel 1, sequence 1): nothing came by the deadline");
  expect_error(world->leave(the_clock.after(1ms)), ErrorCode::timeout,
               "leave the job as rank 0: ranks 1 have not taken everything by the deadline");
}

TEST_F(TcpPeer, StrangersDoNotDisturb) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200; ++i) {
    HandRank stranger(port);
    Bytes noise(random() % 3000);
    for (std::byte& byte : noise) byte = std::byte(static_cast<std::uint8_t>(random()));
    if (i % 3 == 0) noise = to_bytes(encode_challenge(Nonce{}));
    stranger.say(noise);
  }
  HandRank silent(port), replayed(port);
  const Bytes recorded = encode_hello(hello(), Nonce{}, key).value();
  const Bytes challenge = replayed.hear_challenge();
  replayed.say(recorded);
  const auto answer = replayed.hear_answer(challenge, recorded, key);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->reason,
            "handshake: its proof is not made with this job's secret; expected equal HOLDFAST_JOB_SECRET and job id on all ranks");
  EXPECT_TRUE(replayed.closed());
  silent.hear_challenge();
  EXPECT_TRUE(silent.closed()) << "who says nothing is given up";
  EXPECT_GE(mark_hits()["tcp.handshake_late"], 1u);
  peer->say_frame(FrameKind::message, {1, 1}, "still here");
  EXPECT_EQ(as_text(world->net().receive(Rank{1}, {1, 1}, soon())->view()), "still here");
}

TEST_F(TcpPeer, WhoKnowsTheSecretMustStillBeWhomTheJobExpects) {
  const auto refusal = [&](Hello changed) { return HandRank(port).greet(changed, key)->reason; };
  Hello to_another = hello(), from_itself = hello(), from_outside = hello();
  to_another.to = Rank{1};
  from_itself.from = Rank{0};
  from_outside.from = Rank{2};
  EXPECT_EQ(refusal(to_another), "rank 1 is called, this is rank 0");
  EXPECT_EQ(refusal(from_itself), "rank 0 calls; expected another rank than 0 of 0 to 1");
  EXPECT_EQ(refusal(from_outside), "rank 2 calls; expected another rank than 0 of 0 to 1");
  EXPECT_TRUE(refusal(hello()).starts_with("rank 1 is here already, from 127.0.0.1:")) << refusal(hello());
  peer.reset();
  expect_lost("it closed the connection");
  EXPECT_TRUE(refusal(hello()).starts_with("rank 1 was lost: rank 1 at 127.0.0.1:")) << "for good";
}

TEST_F(TcpPeer, WhoCallsWhenDescriptorsAreShortIsServedLater) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::dup(0);
  ::close(next);
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(next) + 1;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  HandRank caller(port);  // has the last one
  const auto until = the_clock.now() + 10s;
  while (!mark_hits().contains("tcp.listener_paused") && the_clock.now() < until) std::this_thread::sleep_for(1ms);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(mark_hits().contains("tcp.listener_paused"));
  EXPECT_EQ(caller.hear_challenge().size(), 32u);
}

TEST(TcpSocket, IsToldHowLongSilenceMayLast) {
  const Fd listener = listen_at("127.0.0.1", 0).value();
  Fd fd;
  ASSERT_EQ(begin_connect(local_address(listener).value(), fd), 0);
  ASSERT_TRUE(configure(fd, 30s));
  const auto value = [&](int level, int option) {
    int found = -1;
    socklen_t size = sizeof found;
    EXPECT_EQ(::getsockopt(fd.get(), level, option, &found, &size), 0);
    return found;
  };
  EXPECT_EQ(value(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(value(IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(value(IPPROTO_TCP, TCP_KEEPIDLE), 10);
  EXPECT_EQ(value(IPPROTO_TCP, TCP_KEEPINTVL), 5);
  EXPECT_EQ(value(IPPROTO_TCP, TCP_KEEPCNT), 4);
  EXPECT_EQ(value(IPPROTO_TCP, TCP_USER_TIMEOUT), 30'000);
}

TEST(TcpSocket, AddressesReadAsTheyAreWritten) {
  for (const char* host : {"10.0.0.3", "::1", "fe80::1"}) EXPECT_EQ(Address::parse(host, 80)->host(), host);
  EXPECT_EQ(to_string(Address::parse("10.0.0.3", 80).value()), "10.0.0.3:80");
  EXPECT_EQ(to_string(Address::parse("::1", 80)->with_port(81)), "[::1]:81");
  EXPECT_EQ(Address::parse("::ffff:10.0.0.3", 80)->host(), "10.0.0.3");
  EXPECT_TRUE(Address::parse("127.1.2.3", 1)->loopback());
  EXPECT_TRUE(Address::parse("::1", 1)->loopback());
  EXPECT_FALSE(Address::parse("10.0.0.3", 1)->loopback());
  EXPECT_EQ(Address::parse("n01", 1).error().message, "\"n01\" is no numeric address");
  EXPECT_EQ(resolve("127.0.0.1", 80, soon())->front().port(), 80);
}

// ---- the data plane ------------------------------------------------------------------------------------------------------------------

TEST(TcpDataPlane, NamesAMismatchedExchangeTheSameOnBothSides) {
  test::Worlds worlds = test::join_all(2);
  Bytes memory(64);
  std::uint64_t sequence = 2;
  const auto part = [&](Rank peer, std::size_t bytes) { return Transfer{peer, ByteSpan(memory).first(bytes), MemoryKind::host}; };
  const auto both = [&](std::vector<Transfer> sends, std::vector<Transfer> receives, std::string_view message) {
    ++sequence;
    run_ranks(2, [&](int self) {
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
  std::thread peer = waits_for(1, 0, ErrorCode::aborted, "exchange \"x\" #1: rank 0 aborted its data plane");
  std::thread lost = waits_for(2, 3, ErrorCode::peer_lost, "exchange \"x\" #2: rank 3 is lost: rank 3 at 127.0.0.1:");
  std::this_thread::sleep_for(20ms);
  worlds[0]->data().abort();
  own.join();
  peer.join();
  worlds[3].reset();
  lost.join();
  const Transfer late{Rank{0}, memory, MemoryKind::host};
  expect_error(worlds[2]->data().exchange("y", 1, {}, {&late, 1}, soon()), ErrorCode::aborted,
               "exchange \"y\" #1: rank 0 aborted its data plane");
}

TEST(TcpDataPlane, LargeExchangesOfSeveralNamesRunAtTheSameTime) {
  constexpr int world_size = 3;
  constexpr std::size_t bytes = (5 << 20) + 3;
  test::Worlds worlds = test::join_all(world_size, {.unsent_bytes_max = 1 << 20});
  run_ranks(world_size, [&](int self) {
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
