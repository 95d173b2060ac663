#include "tests/conformance/group_cases.h"

#include <algorithm>
#include <vector>

#include "tests/conformance/expect.h"

namespace holdfast::conformance {
namespace {

using port::Tag;
using port::Transfer;

constexpr std::uint32_t barrier_channel = 99;

SharedBytes message(std::string_view text) { return to_bytes(as_bytes(text)); }

/// Nobody passes before everybody came. `round` rises.
Status barrier(const GroupDoors& doors, std::uint64_t round) {
  const Rank self = doors.net.rank();
  const Tag tag{barrier_channel, round};
  const auto deadline = doors.clock.after(long_time);
  if (self != Rank{0}) {
    TRY(doors.net.send(Rank{0}, tag, {}, deadline));
    TRY(doors.net.receive(Rank{0}, tag, deadline));
    return {};
  }
  for (int rank = 1; rank < doors.net.world_size(); ++rank) TRY(doors.net.receive(Rank{rank}, tag, deadline));
  for (int rank = 1; rank < doors.net.world_size(); ++rank) TRY(doors.net.send(Rank{rank}, tag, {}, deadline));
  return {};
}

Status everybody_hears_everybody(const GroupDoors& doors) {
  const int self = doors.net.rank().value;
  const int world_size = doors.net.world_size();
  const auto deadline = doors.clock.after(long_time);
  for (std::uint64_t round = 1; round <= 20; ++round) {
    for (int to = 0; to < world_size; ++to) {
      if (to != self) TRY(doors.net.send(Rank{to}, {1, round}, message(fmt::format("{}>{}:{}", self, to, round)), deadline));
    }
    for (int from = 0; from < world_size; ++from) {
      if (from == self) continue;
      const SharedBytes got = TRY(doors.net.receive(Rank{from}, {1, round}, deadline));
      TRY(expect_bytes(got.view(), fmt::format("{}>{}:{}", from, self, round)));
    }
  }
  return {};
}

Status messages_wait_in_order(const GroupDoors& doors) {
  constexpr std::uint64_t last = 200;
  const auto deadline = doors.clock.after(long_time);
  if (doors.net.rank() == Rank{0}) {
    for (std::uint64_t i = 1; i <= last; ++i) TRY(doors.net.send(Rank{1}, {1, i}, message(fmt::format("m{}", i)), deadline));
    return barrier(doors, 1);
  }
  TRY(barrier(doors, 1));
  for (std::uint64_t i = 1; i <= last; ++i) {
    TRY(expect_bytes(TRY(doors.net.receive(Rank{0}, {1, i}, deadline)).view(), fmt::format("m{}", i)));
  }
  return {};
}

Status channels_do_not_disturb_each_other(const GroupDoors& doors) {
  const auto deadline = doors.clock.after(long_time);
  if (doors.net.rank() == Rank{0}) {
    TRY(doors.net.send(Rank{1}, {1, 10}, message("first"), deadline));
    TRY(doors.net.send(Rank{1}, {2, 3}, message("second"), deadline));
    TRY(doors.net.send(Rank{1}, {1, 11}, message("third"), deadline));
    return barrier(doors, 1);
  }
  TRY(expect_bytes(TRY(doors.net.receive(Rank{0}, {2, 3}, deadline)).view(), "second"));
  TRY(expect_bytes(TRY(doors.net.receive(Rank{0}, {1, 10}, deadline)).view(), "first"));
  TRY(expect_bytes(TRY(doors.net.receive(Rank{0}, {1, 11}, deadline)).view(), "third"));
  return barrier(doors, 1);
}

Status lower_tags_are_dropped(const GroupDoors& doors) {
  const auto deadline = doors.clock.after(long_time);
  if (doors.net.rank() == Rank{0}) {
    for (const std::uint64_t sequence : {1, 2, 5, 9}) {
      TRY(doors.net.send(Rank{1}, {1, sequence}, message(fmt::format("m{}", sequence)), deadline));
    }
    return barrier(doors, 1);
  }
  TRY(expect_bytes(TRY(doors.net.receive(Rank{0}, {1, 5}, deadline)).view(), "m5"));
  TRY(expect_error(doors.net.receive(Rank{0}, {1, 2}, doors.clock.after(short_time)), ErrorCode::timeout));
  TRY(expect_error(doors.net.receive(Rank{0}, {1, 7}, doors.clock.after(short_time)), ErrorCode::timeout));
  TRY(expect_bytes(TRY(doors.net.receive(Rank{0}, {1, 9}, deadline)).view(), "m9"));
  return barrier(doors, 1);
}

Status receive_times_out_and_can_be_asked_again(const GroupDoors& doors) {
  const auto deadline = doors.clock.after(long_time);
  if (doors.net.rank() == Rank{1}) {
    const auto begin = doors.clock.now();
    TRY(expect_error(doors.net.receive(Rank{0}, {1, 1}, doors.clock.after(short_time)), ErrorCode::timeout));
    TRY(expect(doors.clock.now() - begin >= short_time, "the call to wait for its deadline"));
    TRY(barrier(doors, 1));
    return expect_bytes(TRY(doors.net.receive(Rank{0}, {1, 1}, deadline)).view(), "late");
  }
  TRY(barrier(doors, 1));
  return doors.net.send(Rank{1}, {1, 1}, message("late"), deadline);
}

Status a_rank_that_left_is_lost_after_its_last_message(const GroupDoors& doors) {
  const auto deadline = doors.clock.after(long_time);
  if (doors.net.rank() == Rank{1}) {
    TRY(doors.net.send(Rank{0}, {1, 1}, message("one"), deadline));
    return doors.net.send(Rank{0}, {1, 2}, message("two"), deadline);
  }
  TRY(expect_error(doors.net.receive(Rank{1}, {2, 1}, deadline), ErrorCode::peer_lost));
  TRY(expect_bytes(TRY(doors.net.receive(Rank{1}, {1, 1}, deadline)).view(), "one"));
  TRY(expect_bytes(TRY(doors.net.receive(Rank{1}, {1, 2}, deadline)).view(), "two"));
  return expect_error(doors.net.receive(Rank{1}, {1, 3}, deadline), ErrorCode::peer_lost);
}

Status messages_have_limits(const GroupDoors& doors) {
  const auto deadline = doors.clock.after(long_time);
  const std::size_t most = doors.net.max_message_bytes();
  if (doors.net.rank() == Rank{0}) {
    TRY(expect_error(doors.net.send(Rank{1}, {1, 1}, Bytes(most + 1), deadline), ErrorCode::invalid_argument));
    TRY(expect_error(doors.net.send(Rank{0}, {1, 1}, message("me"), deadline), ErrorCode::invalid_argument));
    TRY(doors.net.send(Rank{1}, {1, 1}, {}, deadline));
    TRY(doors.net.send(Rank{1}, {1, 2}, Bytes(most, std::byte{7}), deadline));
    return barrier(doors, 1);
  }
  TRY(expect(TRY(doors.net.receive(Rank{0}, {1, 1}, deadline)).empty(), "an empty message"));
  const SharedBytes large = TRY(doors.net.receive(Rank{0}, {1, 2}, deadline));
  TRY(expect(large.size() == most && large.view().back() == std::byte{7}, "a message of the largest size"));
  return barrier(doors, 1);
}

/// Rank a sends rank b `pieces(a, b)` pieces of rising sizes; every byte tells its sender, its receiver and its place.
Status exchanges_every_size_with_everybody(const GroupDoors& doors) {
  const int self = doors.net.rank().value;
  const int world_size = doors.net.world_size();
  const auto pieces = [](int from, int to) { return (from + 2 * to) % 4; };
  const auto bytes = [](int from, int to, int i) { return static_cast<std::size_t>(i) * 1000 + static_cast<std::size_t>(from + to); };
  const auto value = [](int from, int to, int i, std::size_t at) {
    return std::byte(static_cast<std::uint8_t>(from * 64 + to * 16 + i * 5 + static_cast<int>(at % 251)));
  };
  for (std::uint64_t sequence = 1; sequence <= 5; ++sequence) {
    std::vector<Bytes> sent, received;
    std::vector<std::pair<int, int>> expected;
    sent.reserve(64);
    received.reserve(64);
    std::vector<Transfer> sends, receives;
    for (int peer = 0; peer < world_size; ++peer) {
      if (peer == self) continue;
      for (int i = 0; i < pieces(self, peer); ++i) {
        Bytes& out = sent.emplace_back(bytes(self, peer, i));
        for (std::size_t at = 0; at < out.size(); ++at) out[at] = value(self, peer, i, at);
        sends.push_back({Rank{peer}, out, MemoryKind::host});
      }
      for (int i = 0; i < pieces(peer, self); ++i) {
        receives.push_back({Rank{peer}, received.emplace_back(bytes(peer, self, i)), MemoryKind::host});
        expected.emplace_back(peer, i);
      }
    }
    TRY(doors.data.exchange("all", sequence, sends, receives, doors.clock.after(long_time)));
    for (std::size_t r = 0; r < received.size(); ++r) {
      const auto [peer, i] = expected[r];
      for (std::size_t at = 0; at < received[r].size(); ++at) {
        TRY(expect(received[r][at] == value(peer, self, i, at), fmt::format("byte {} of piece {} from rank {}", at, i, peer)));
      }
    }
  }
  return {};
}

Status an_exchange_without_transfers_returns_at_once(const GroupDoors& doors) {
  if (doors.net.rank() == Rank{0}) TRY(doors.data.exchange("nothing", 1, {}, {}, doors.clock.after(long_time)));
  return barrier(doors, 1);
}

Status an_exchange_of_unequal_sizes_fails_on_both_sides(const GroupDoors& doors) {
  Bytes memory(8);
  const bool sender = doors.net.rank() == Rank{0};
  const Transfer transfer{sender ? Rank{1} : Rank{0}, ByteSpan(memory).first(sender ? 8 : 7), MemoryKind::host};
  const std::span<const Transfer> mine(&transfer, 1);
  const Status result = sender ? doors.data.exchange("sizes", 1, mine, {}, doors.clock.after(long_time))
                               : doors.data.exchange("sizes", 1, {}, mine, doors.clock.after(long_time));
  TRY(expect_error(result, ErrorCode::invalid_argument));
  return barrier(doors, 1);
}

Status an_exchange_times_out_when_the_peer_stays_away(const GroupDoors& doors) {
  Bytes memory(8);
  const Transfer transfer{Rank{1}, memory, MemoryKind::host};
  if (doors.net.rank() == Rank{0}) {
    TRY(expect_error(doors.data.exchange("alone", 1, {}, {&transfer, 1}, doors.clock.after(short_time)), ErrorCode::timeout));
  }
  return barrier(doors, 1);
}

Status an_exchange_with_a_rank_that_left_is_lost(const GroupDoors& doors) {
  if (doors.net.rank() == Rank{1}) return {};
  Bytes memory(8);
  const Transfer transfer{Rank{1}, memory, MemoryKind::host};
  return expect_error(doors.data.exchange("gone", 1, {&transfer, 1}, {}, doors.clock.after(long_time)), ErrorCode::peer_lost);
}

Status abort_ends_every_later_exchange(const GroupDoors& doors) {
  Bytes memory(8);
  const Transfer transfer{Rank{1}, memory, MemoryKind::host};
  if (doors.net.rank() == Rank{0}) {
    doors.data.abort();
    for (std::uint64_t sequence = 1; sequence <= 2; ++sequence) {
      TRY(expect_error(doors.data.exchange("over", sequence, {&transfer, 1}, {}, doors.clock.after(long_time)), ErrorCode::aborted));
    }
  }
  return barrier(doors, 1);
}

constexpr GroupCase cases[] = {
    {"EverybodyHearsEverybody", 5, everybody_hears_everybody},
    {"MessagesWaitInOrder", 2, messages_wait_in_order},
    {"ChannelsDoNotDisturbEachOther", 2, channels_do_not_disturb_each_other},
    {"LowerTagsAreDropped", 2, lower_tags_are_dropped},
    {"ReceiveTimesOutAndCanBeAskedAgain", 2, receive_times_out_and_can_be_asked_again},
    {"ARankThatLeftIsLostAfterItsLastMessage", 2, a_rank_that_left_is_lost_after_its_last_message},
    {"MessagesHaveLimits", 2, messages_have_limits},
    {"ExchangesEverySizeWithEverybody", 4, exchanges_every_size_with_everybody},
    {"AnExchangeWithoutTransfersReturnsAtOnce", 2, an_exchange_without_transfers_returns_at_once},
    {"AnExchangeOfUnequalSizesFailsOnBothSides", 2, an_exchange_of_unequal_sizes_fails_on_both_sides},
    {"AnExchangeTimesOutWhenThePeerStaysAway", 2, an_exchange_times_out_when_the_peer_stays_away},
    {"AnExchangeWithARankThatLeftIsLost", 2, an_exchange_with_a_rank_that_left_is_lost},
    {"AbortEndsEveryLaterExchange", 2, abort_ends_every_later_exchange},
};

}  // namespace

std::span<const GroupCase> group_cases() { return cases; }

}  // namespace holdfast::conformance
