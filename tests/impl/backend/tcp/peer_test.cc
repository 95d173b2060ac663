// What strangers and broken peers send to a TcpWorld, and its sockets.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <future>
#include <random>

#include "impl/backend/tcp/world.h"
#include "impl/core/mark.h"
#include "tests/impl/backend/expect.h"
#include "tests/impl/backend/tcp/group.h"

namespace holdfast::backend {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using test::expect_ending;
using test::expect_error;
using test::HandRank;
using test::soon;
using test::text;
using test::the_clock;

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

TEST_F(TcpPeer, WhatCameBeforeAMessageForWhichThereIsNoMemoryCounts) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's own memory leaves no room for a limit";
#else
  const std::uint16_t other = test::free_port();
  constexpr std::size_t most = std::size_t{4} << 30;
  auto joining =
      std::async(std::launch::async, [&] { return TcpWorld::join(test::place(0, 2, other), {.message_bytes_max = most - 1}, soon()); });
  HandRank large(other);
  EXPECT_EQ(large.greet({.from = Rank{1}, .world_size = 2, .message_bytes_max = most - 1}, key)->verdict, Verdict::welcome);
  const auto receiver = joining.get().value();
  Bytes both;
  for (const FrameHead& head : {frame_head(FrameKind::message, {2, 1}, {}), frame_head(FrameKind::message, {1, 2}, {})})
    both.insert(both.end(), head.begin(), head.end());
  std::ranges::fill_n(both.begin() + frame_head_bytes + 20, 4, std::byte{0xFF});
  const std::uint64_t sum = block_digest(ByteView(both).subspan(frame_head_bytes, 40)).low;
  for (std::size_t i = 0; i < 8; ++i) both[frame_head_bytes + 40 + i] = std::byte(static_cast<std::uint8_t>(sum >> (8 * i)));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = most;
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &tight), 0);
  large.say(both);
  const auto over = receiver->net().receive(Rank{1}, {1, 2}, soon());
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &before), 0);
  expect_ending(over, ErrorCode::peer_lost, "frame (channel 1, sequence 2): no memory for its 4294967295 bytes");
  EXPECT_TRUE(receiver->net().receive(Rank{1}, {2, 1}, soon()));
#endif
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

TEST(TcpCallers, AHelloThatComesLateIsNotHeard) {
  const std::uint16_t port = test::free_port();
  auto rank0 =
      std::async(std::launch::async, [&] { return TcpWorld::join(test::place(0, 2, port), {.handshake_limit = 2s}, the_clock.after(3s)); });
  HandRank late(port);
  const Bytes challenge = late.hear_challenge();
  std::this_thread::sleep_for(1100ms);
  const JobKey key = JobKey::make("the secret of a test", "test").value();
  late.say(encode_hello({.from = Rank{1}, .world_size = 2, .message_bytes_max = 64 << 20}, challenge, key).value());
  EXPECT_TRUE(late.closed());
  expect_ending(rank0.get(), ErrorCode::timeout, ": its hello came so late that the caller may have given up");
}

TEST(TcpCallers, WhoHasProvedNothingTakesNoMoreThanSoManyDescriptors) {
  const std::uint16_t port = test::free_port();
  auto rank0 = std::async(std::launch::async,
                          [&] { return TcpWorld::join(test::place(0, 2, port), {.handshake_limit = 60s}, the_clock.after(60s)); });
  std::vector<std::unique_ptr<HandRank>> silent;
  for (int i = 0; i < 128 + 2; ++i) {
    silent.push_back(std::make_unique<HandRank>(port));
    ASSERT_EQ(silent.back()->hear_challenge().size(), 32u) << i;
  }
  HandRank rank1(port);
  EXPECT_TRUE(rank1.hears_nothing_for(300ms));
  silent.pop_back();
  const JobKey key = JobKey::make("the secret of a test", "test").value();
  const auto answer = rank1.greet({.from = Rank{1}, .world_size = 2, .message_bytes_max = 64 << 20}, key);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->verdict, Verdict::welcome);
  EXPECT_TRUE(rank0.get());
}

TEST(TcpSocket, ACallThatIsConnectedToItselfWasRefused) {
  const std::uint16_t port = test::free_port();
  const Address self = Address::parse("127.0.0.1", port).value();
  const Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(::bind(fd.get(), self.data(), self.size()), 0);
  ASSERT_EQ(::connect(fd.get(), self.data(), self.size()), 0) << "as when the system draws the port that is called";
  EXPECT_EQ(connect_result(fd), ECONNREFUSED);
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

}  // namespace
}  // namespace holdfast::backend
