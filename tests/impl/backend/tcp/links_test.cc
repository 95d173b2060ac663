#include "impl/backend/tcp/links.h"

#include <gtest/gtest.h>

namespace holdfast::backend {
namespace {

class TcpLinks : public testing::Test {
 protected:
  static constexpr port::Deadline past{};
  static Address address() { return Address::parse("10.0.0.9", 4000).value(); }
  static Hello hello(Rank from, Rank to) {
    return {.from = from, .to = to, .world_size = 3, .message_bytes_max = TcpOptions().message_bytes_max};
  }
  /// Links of `self` whose reactor is calling `peer`.
  static std::unique_ptr<Links> calling(Rank self, Rank peer) {
    auto links = Links::make(self, 3, {}).value();
    links->gathered();
    links->set_addresses(peer, {address()});
    EXPECT_TRUE(links->send(FrameKind::message, peer, {1, 1}, Bytes(10), past));
    const Links::Requests requests = links->take_requests();
    EXPECT_EQ(requests.wanted, std::vector{peer});
    EXPECT_EQ(requests.loaded, std::vector{peer});
    EXPECT_EQ(to_string(links->begin_attempt(peer).value()), "10.0.0.9:4000");
    return links;
  }
};

TEST_F(TcpLinks, OfTwoCallsThatCrossThatOfTheLowerRankStands) {
  const auto lower = calling(Rank{1}, Rank{2});
  const Answer no = lower->admit(hello(Rank{2}, Rank{1}), address());
  EXPECT_EQ(no.verdict, Verdict::crossed);
  EXPECT_EQ(no.reason, "rank 1 is calling rank 2");
  EXPECT_TRUE(lower->attempt_ended(Rank{2}, AttemptEnd::again, "slow")) << "its own call goes on";

  const auto higher = calling(Rank{2}, Rank{1});
  EXPECT_EQ(higher->admit(hello(Rank{1}, Rank{2}), address()).verdict, Verdict::welcome);
  EXPECT_TRUE(higher->is_up(Rank{1}));
  EXPECT_FALSE(higher->attempt_ended(Rank{1}, AttemptEnd::gone, "no matter")) << "its own call is forgotten";
  EXPECT_TRUE(higher->is_up(Rank{1}));
  EXPECT_EQ(higher->take_outbox(Rank{1}).size(), 1u) << "what was sent meanwhile goes over the other's call";
}

TEST_F(TcpLinks, WhoDoesNotListenHasNotBegunWhileTheJobGathersAndHasEndedLater) {
  const auto links = calling(Rank{1}, Rank{2});
  EXPECT_FALSE(links->attempt_ended(Rank{2}, AttemptEnd::gone, "rank 2: refused"));
  EXPECT_EQ(links->receive(FrameKind::message, Rank{2}, {1, 1}, past).error().message,
            "receive from rank 2 (channel 1, sequence 1): rank 2 is lost: rank 2: refused");
  const auto gathering = Links::make(Rank{1}, 3, {}).value();
  gathering->set_addresses(Rank{0}, {address()});
  EXPECT_EQ(gathering->receive(FrameKind::table, Rank{0}, {0, 1}, past).error().code, ErrorCode::timeout);
  ASSERT_TRUE(gathering->begin_attempt(Rank{0}));
  EXPECT_TRUE(gathering->attempt_ended(Rank{0}, AttemptEnd::gone, "rank 0: refused"));
  EXPECT_EQ(gathering->receive(FrameKind::table, Rank{0}, {0, 1}, past).error().message,
            "receive from rank 0 (channel 0, sequence 1): no connection by the deadline; rank 0: refused");
}

TEST_F(TcpLinks, WhoLeavesStillTakesTheCallOfARankThatItHasSomethingFor) {
  const auto links = calling(Rank{2}, Rank{1});
  EXPECT_EQ(links->leave(past).error().message, "leave the job as rank 2: ranks 1 have not taken everything by the deadline");
  EXPECT_EQ(links->admit(hello(Rank{0}, Rank{2}), address()).reason, "rank 2 has left");
  EXPECT_EQ(links->admit(hello(Rank{1}, Rank{2}), address()).verdict, Verdict::welcome);
  EXPECT_FALSE(links->leave(past)) << "it is not sent yet";
  links->lost(Rank{1}, "it read all and closed");
  EXPECT_TRUE(links->leave(past));
}

TEST_F(TcpLinks, TriesEveryAddressOfAHostInTurn) {
  const auto links = Links::make(Rank{1}, 3, {}).value();
  links->set_addresses(Rank{0}, {address(), address().with_port(4001)});
  EXPECT_FALSE(links->receive(FrameKind::table, Rank{0}, {0, 1}, past));
  for (const char* expected : {"10.0.0.9:4000", "10.0.0.9:4001", "10.0.0.9:4000"}) {
    EXPECT_EQ(to_string(links->begin_attempt(Rank{0}).value()), expected);
    EXPECT_EQ(to_string(links->address_of(Rank{0})), expected);
    EXPECT_TRUE(links->attempt_ended(Rank{0}, AttemptEnd::again, ""));
  }
}

}  // namespace
}  // namespace holdfast::backend
