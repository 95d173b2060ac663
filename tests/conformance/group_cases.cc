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

/// Memory of the kind that the data plane moves, filled and read by the host. The host's is what the test sees.
class Memory {
 public:
  static Result<Memory> make(const GroupDoors& doors, ByteView content) {
    Memory memory;
    memory.host_ = to_bytes(content);
    if (doors.data.memory() == MemoryKind::host) return memory;
    memory.device_ = doors.device;
    memory.buffer_ = TRY(doors.device->allocate_device(content.size()));
    TRY(memory.copy(doors, Direction::in));
    return memory;
  }
  static Result<Memory> make(const GroupDoors& doors, std::size_t bytes) { return make(doors, Bytes(bytes)); }

  ByteSpan span() { return device_ ? buffer_.bytes : ByteSpan(host_); }
  Transfer with(Rank peer) { return {peer, span(), device_ ? MemoryKind::device : MemoryKind::host}; }
  /// What is there now.
  Result<Bytes> read(const GroupDoors& doors) {
    if (device_) TRY(copy(doors, Direction::out));
    return host_;
  }

 private:
  enum class Direction : std::uint8_t { in, out };
  Status copy(const GroupDoors& doors, Direction direction) {
    if (host_.empty()) return {};
    const port::Buffer staging = TRY(device_->allocate_staging(host_.size()));
    const Dims size{static_cast<std::int64_t>(host_.size())};
    const StridedBlock block = packed_block(buffer_.bytes.data(), size, 1, MemoryKind::device);
    const port::StreamId stream = TRY(device_->create_stream());
    if (direction == Direction::in) std::ranges::copy(host_, staging.bytes.begin());
    Status done = direction == Direction::in ? device_->copy_in(staging.bytes, staging.owner, block, stream)
                                             : device_->copy_out(block, staging.bytes, staging.owner, stream);
    if (done) {
      const port::EventId event = TRY(device_->record(stream));
      done = device_->synchronize(event, doors.clock.after(long_time));
      device_->destroy_event(event);
    }
    device_->destroy_stream(stream);
    if (direction == Direction::out) std::ranges::copy(staging.bytes, host_.begin());
    return done;
  }

  Bytes host_;
  port::Device* device_ = nullptr;
  port::Buffer buffer_;
};

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
    std::vector<Memory> sent, received;
    std::vector<std::pair<int, int>> expected;
    std::vector<Transfer> sends, receives;
    for (int peer = 0; peer < world_size; ++peer) {
      if (peer == self) continue;
      for (int i = 0; i < pieces(self, peer); ++i) {
        Bytes out(bytes(self, peer, i));
        for (std::size_t at = 0; at < out.size(); ++at) out[at] = value(self, peer, i, at);
        sent.push_back(TRY(Memory::make(doors, out)));
        sends.push_back(sent.back().with(Rank{peer}));
      }
      for (int i = 0; i < pieces(peer, self); ++i) {
        received.push_back(TRY(Memory::make(doors, bytes(peer, self, i))));
        receives.push_back(received.back().with(Rank{peer}));
        expected.emplace_back(peer, i);
      }
    }
    TRY(doors.data.exchange("all", sequence, sends, receives, doors.clock.after(long_time)));
    for (std::size_t r = 0; r < received.size(); ++r) {
      const auto [peer, i] = expected[r];
      const Bytes got = TRY(received[r].read(doors));
      for (std::size_t at = 0; at < got.size(); ++at) {
        TRY(expect(got[at] == value(peer, self, i, at), fmt::format("byte {} of piece {} from rank {}", at, i, peer)));
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
  const bool sender = doors.net.rank() == Rank{0};
  Memory memory = TRY(Memory::make(doors, sender ? 8 : 7));
  const Transfer transfer = memory.with(sender ? Rank{1} : Rank{0});
  const std::span<const Transfer> mine(&transfer, 1);
  const Status result = sender ? doors.data.exchange("sizes", 1, mine, {}, doors.clock.after(long_time))
                               : doors.data.exchange("sizes", 1, {}, mine, doors.clock.after(long_time));
  TRY(expect_error(result, ErrorCode::invalid_argument));
  return barrier(doors, 1);
}

Status an_exchange_times_out_when_the_peer_stays_away(const GroupDoors& doors) {
  Memory memory = TRY(Memory::make(doors, 8));
  const Transfer transfer = memory.with(Rank{1});
  if (doors.net.rank() == Rank{0}) {
    TRY(expect_error(doors.data.exchange("alone", 1, {}, {&transfer, 1}, doors.clock.after(short_time)), ErrorCode::timeout));
  }
  return barrier(doors, 1);
}

Status an_exchange_with_a_rank_that_left_is_lost(const GroupDoors& doors) {
  if (doors.net.rank() == Rank{1}) return {};
  Memory memory = TRY(Memory::make(doors, 8));
  const Transfer transfer = memory.with(Rank{1});
  return expect_error(doors.data.exchange("gone", 1, {&transfer, 1}, {}, doors.clock.after(long_time)), ErrorCode::peer_lost);
}

Status abort_ends_every_later_exchange(const GroupDoors& doors) {
  Memory memory = TRY(Memory::make(doors, 8));
  const Transfer transfer = memory.with(Rank{1});
  if (doors.net.rank() == Rank{0}) {
    doors.data.abort();
    for (std::uint64_t sequence = 1; sequence <= 2; ++sequence) {
      TRY(expect_error(doors.data.exchange("over", sequence, {&transfer, 1}, {}, doors.clock.after(long_time)), ErrorCode::aborted));
    }
  }
  return barrier(doors, 1);
}

/// Each rank to itself, and one of them to the next: ranks with nothing for each other do not wait for each other.
Status an_exchange_is_of_those_that_have_transfers(const GroupDoors& doors) {
  const Rank self = doors.net.rank();
  const auto byte = std::byte(static_cast<std::uint8_t>(self.value + 1));
  for (std::uint64_t sequence = 1; sequence <= 3; ++sequence) {
    Memory from = TRY(Memory::make(doors, Bytes(100, byte))), to = TRY(Memory::make(doors, 100)), next = TRY(Memory::make(doors, 100));
    std::vector<Transfer> sends{from.with(self)}, receives{to.with(self)};
    if (self == Rank{0}) sends.push_back(from.with(Rank{1}));
    if (self == Rank{1}) receives.push_back(next.with(Rank{0}));
    if (self != Rank{2}) TRY(doors.data.exchange("some", sequence, sends, receives, doors.clock.after(long_time)));
    TRY(barrier(doors, 2 * sequence));
    if (self == Rank{2}) TRY(doors.data.exchange("some", sequence, sends, receives, doors.clock.after(long_time)));
    TRY(expect(TRY(to.read(doors)) == Bytes(100, byte), "what it sent itself"));
    if (self == Rank{1}) TRY(expect(TRY(next.read(doors)) == Bytes(100, std::byte{1}), "what rank 0 sent"));
    TRY(barrier(doors, 2 * sequence + 1));
  }
  return {};
}

/// In a chain, a rank knows its neighbours only.
Status an_exchange_goes_along_a_chain(const GroupDoors& doors) {
  const int self = doors.net.rank().value;
  const int last = doors.net.world_size() - 1;
  for (std::uint64_t sequence = 1; sequence <= 3; ++sequence) {
    const auto filled = [&](int rank) {
      return Bytes(1000, std::byte(static_cast<std::uint8_t>(10 * rank) + static_cast<std::uint8_t>(sequence)));
    };
    Memory from = TRY(Memory::make(doors, filled(self))), to = TRY(Memory::make(doors, 1000));
    std::vector<Transfer> sends, receives;
    if (self != last) sends.push_back(from.with(Rank{self + 1}));
    if (self != 0) receives.push_back(to.with(Rank{self - 1}));
    TRY(doors.data.exchange("chain", sequence, sends, receives, doors.clock.after(long_time)));
    if (self != 0) TRY(expect(TRY(to.read(doors)) == filled(self - 1), "what the rank before it sent"));
  }
  return barrier(doors, 1);
}

/// After a failure, others meet again.
Status exchanges_go_on_after_one_that_failed(const GroupDoors& doors) {
  const Rank self = doors.net.rank();
  const Rank peer{1 - self.value};
  Memory from = TRY(Memory::make(doors, Bytes(64, std::byte{5}))), to = TRY(Memory::make(doors, 64)), small = TRY(Memory::make(doors, 63));
  const auto exchange = [&](std::uint64_t sequence, Memory& into, port::Duration time) {
    const Transfer send = from.with(peer), receive = into.with(peer);
    return doors.data.exchange("again", sequence, {&send, 1}, {&receive, 1}, doors.clock.after(time));
  };
  TRY(exchange(1, to, long_time));
  TRY(expect_error(exchange(2, self == Rank{0} ? small : to, long_time), ErrorCode::invalid_argument));
  TRY(exchange(3, to, long_time));
  TRY(barrier(doors, 1));
  if (self == Rank{0}) TRY(expect_error(exchange(4, to, short_time), ErrorCode::timeout));
  TRY(barrier(doors, 2));
  TRY(exchange(5, to, long_time));
  TRY(expect(TRY(to.read(doors)) == Bytes(64, std::byte{5}), "what the other sent"));
  return barrier(doors, 3);
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
    {"AnExchangeIsOfThoseThatHaveTransfers", 3, an_exchange_is_of_those_that_have_transfers},
    {"AnExchangeGoesAlongAChain", 5, an_exchange_goes_along_a_chain},
    {"ExchangesGoOnAfterOneThatFailed", 2, exchanges_go_on_after_one_that_failed},
    {"AnExchangeWithoutTransfersReturnsAtOnce", 2, an_exchange_without_transfers_returns_at_once},
    {"AnExchangeOfUnequalSizesFailsOnBothSides", 2, an_exchange_of_unequal_sizes_fails_on_both_sides},
    {"AnExchangeTimesOutWhenThePeerStaysAway", 2, an_exchange_times_out_when_the_peer_stays_away},
    {"AnExchangeWithARankThatLeftIsLost", 2, an_exchange_with_a_rank_that_left_is_lost},
    {"AbortEndsEveryLaterExchange", 2, abort_ends_every_later_exchange},
};

}  // namespace

std::span<const GroupCase> group_cases() { return cases; }

}  // namespace holdfast::conformance
