// Linked with the mutant build of the back end: each planted bug must show.
#include <gtest/gtest.h>

#include <thread>

#include "impl/core/mutate.h"
#include "tests/impl/backend/tcp/group.h"

namespace holdfast::backend {
namespace {

using port::Transfer;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

SteadyClock the_clock;

void expect_shows(std::string_view mutant, bool (*shows)()) {
  EXPECT_FALSE(shows()) << "without " << mutant;
  mutants::activate(mutant);
  EXPECT_TRUE(shows()) << mutant << " does not show";
  mutants::activate("");
}

/// Whether a reader of messages up to 100 bytes gives a frame, or waits for one, whose byte `at` was changed on its way.
bool takes(Bytes frame, std::size_t at) {
  frame[at] ^= std::byte{1};
  FrameReader reader({.message = 100});
  std::vector<Frame> frames;
  return reader.received(frame, frames).has_value();
}
Bytes frame_of(std::size_t payload_bytes) {
  const Bytes payload(payload_bytes);
  const FrameHead head = frame_head(FrameKind::message, {1, 1}, payload);
  Bytes frame(head.begin(), head.end());
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

bool a_changed_sequence_is_taken() { return takes(frame_of(10), 12); }
bool a_changed_payload_is_taken() { return takes(frame_of(10), frame_head_bytes + 3); }
bool a_long_message_is_taken() {
  FrameReader reader({.message = 100});
  std::vector<Frame> frames;
  return reader.received(frame_head(FrameKind::message, {1, 1}, Bytes(101)), frames).has_value();
}
bool nonces_repeat() { return fresh_nonce().value() == fresh_nonce().value(); }
bool a_wrong_secret_is_let_in() {
  const std::uint16_t port = test::free_port();
  auto rank0 = std::async(std::launch::async, [&] { return TcpWorld::join(test::place(0, 2, port), {}, the_clock.after(2s)); });
  Rendezvous other = test::place(1, 2, port);
  other.secret = "the secret of another";
  const bool joined = TcpWorld::join(other, {}, the_clock.after(2s)).has_value();
  return joined || rank0.get().has_value();
}
bool launchers_that_disagree_are_believed() {
  return rendezvous({{"HOLDFAST_RANK", "0"}, {"HOLDFAST_WORLD_SIZE", "1"}, {"RANK", "1"}, {"WORLD_SIZE", "2"}}).has_value();
}
bool a_last_message_is_lost() {
  test::Worlds worlds = test::join_all(2);
  EXPECT_TRUE(worlds[1]->net().send(Rank{0}, {1, 1}, Bytes(3), the_clock.after(30s)));
  EXPECT_TRUE(worlds[1]->leave(the_clock.after(30s)));
  EXPECT_FALSE(worlds[0]->net().receive(Rank{1}, {2, 1}, the_clock.after(30s)));
  return !worlds[0]->net().receive(Rank{1}, {1, 1}, the_clock.after(30s));
}
bool leaving_cuts_messages_off() {
  test::Worlds worlds = test::join_all(2);
  EXPECT_TRUE(worlds[1]->net().send(Rank{0}, {1, 1}, Bytes(64 << 20), the_clock.after(30s)));
  EXPECT_TRUE(worlds[1]->leave(the_clock.after(30s)));
  worlds[1].reset();
  return !worlds[0]->net().receive(Rank{1}, {1, 1}, the_clock.after(30s));
}
bool an_end_is_not_seen() {
  test::Worlds worlds = test::join_all(2);
  worlds[1].reset();
  const auto got = worlds[0]->net().receive(Rank{1}, {1, 1}, the_clock.after(1s));
  return got.error().code != ErrorCode::peer_lost;
}
bool a_late_hello_is_heard() {
  const std::uint16_t port = test::free_port();
  auto rank0 =
      std::async(std::launch::async, [&] { return TcpWorld::join(test::place(0, 2, port), {.handshake_limit = 2s}, the_clock.after(3s)); });
  test::HandRank late(port);
  const Bytes challenge = late.hear_challenge();
  std::this_thread::sleep_for(1100ms);
  const JobKey key = JobKey::make("the secret of a test", "test").value();
  const Bytes hello = encode_hello({.from = Rank{1}, .world_size = 2, .message_bytes_max = 64 << 20}, challenge, key).value();
  late.say(hello);
  return late.hear_answer(challenge, hello, key).has_value();
}
bool callers_take_all_descriptors() {
  const std::uint16_t port = test::free_port();
  auto rank0 = std::async(std::launch::async,
                          [&] { return TcpWorld::join(test::place(0, 2, port), {.handshake_limit = 60s}, the_clock.after(3s)); });
  std::vector<std::unique_ptr<test::HandRank>> silent;
  for (int i = 0; i < 128 + 2; ++i) silent.push_back(std::make_unique<test::HandRank>(port));
  EXPECT_EQ(silent.back()->hear_challenge().size(), 32u);
  return !test::HandRank(port).hears_nothing_for(300ms);
}
bool unequal_sizes_are_moved() {
  test::Worlds worlds = test::join_all(2);
  Bytes memory(8), other(7);
  std::thread sender([&] {
    const Transfer send{Rank{1}, memory, MemoryKind::host};
    static_cast<void>(worlds[0]->data().exchange("x", 1, {&send, 1}, {}, the_clock.after(500ms)));
  });
  const Transfer receive{Rank{0}, other, MemoryKind::host};
  const Status done = worlds[1]->data().exchange("x", 1, {}, {&receive, 1}, the_clock.after(30s));
  sender.join();
  return done || done.error().code != ErrorCode::invalid_argument;
}

TEST(TcpMutants, AnUncheckedHeadShows) { expect_shows("tcp.head_unchecked", a_changed_sequence_is_taken); }
TEST(TcpMutants, AnUncheckedPayloadShows) { expect_shows("tcp.payload_unchecked", a_changed_payload_is_taken); }
TEST(TcpMutants, AnUncheckedLengthShows) { expect_shows("tcp.length_unchecked", a_long_message_is_taken); }
TEST(TcpMutants, AConstantNonceShows) { expect_shows("tcp.nonce_constant", nonces_repeat); }
TEST(TcpMutants, AnUncheckedProofShows) { expect_shows("tcp.proof_unchecked", a_wrong_secret_is_let_in); }
TEST(TcpMutants, TheFirstLauncherWinningShows) { expect_shows("tcp.first_launcher_wins", launchers_that_disagree_are_believed); }
TEST(TcpMutants, AnEndThatComesBeforeMessagesShows) { expect_shows("tcp.end_before_messages", a_last_message_is_lost); }
TEST(TcpMutants, LeavingAtOnceShows) { expect_shows("tcp.leaves_at_once", leaving_cuts_messages_off); }
TEST(TcpMutants, AnEndUnseenShows) { expect_shows("tcp.end_unseen", an_end_is_not_seen); }
TEST(TcpMutants, ALateHelloThatIsHeardShows) { expect_shows("tcp.late_hello_heard", a_late_hello_is_heard); }
TEST(TcpMutants, CallersWithoutALimitShow) { expect_shows("tcp.callers_unlimited", callers_take_all_descriptors); }
TEST(TcpMutants, SizesUncomparedShow) { expect_shows("tcp.sizes_uncompared", unequal_sizes_are_moved); }

}  // namespace
}  // namespace holdfast::backend
