#include "impl/backend/nccl/agreement.h"

#include <algorithm>

#include "impl/core/digest.h"
#include "impl/core/mutate.h"
#include "impl/port/exchange_sizes.h"

namespace holdfast::backend {
namespace {

constexpr unsigned frame_bits = 24;                           ///< of a tag's sequence: the messages of one exchange between two ranks
constexpr std::uint32_t channels_of_exchanges = 0x8000'0000;  ///< the upper half; the control plane's have small numbers
constexpr port::Duration slice = std::chrono::milliseconds(100);
constexpr port::Duration turn_longest = std::chrono::milliseconds(1);

void encode_sizes(Encoder& out, const Sizes& sizes) {
  for (const auto* list : {&sizes.sends, &sizes.receives}) {
    out.varint(list->size());
    for (const std::uint64_t bytes : *list) out.varint(bytes);
  }
}

Result<Sizes> decode_sizes(Decoder& in) {
  Sizes sizes;
  for (auto* list : {&sizes.sends, &sizes.receives}) {
    const std::size_t count = TRY(in.count(1));
    for (std::size_t i = 0; i < count; ++i) list->push_back(TRY(in.varint()));
  }
  return sizes;
}

void encode_ranks(Encoder& out, const std::set<Rank>& ranks) {
  out.varint(ranks.size());
  for (const Rank rank : ranks) out.varint(static_cast<std::uint64_t>(rank.value));
}

Status decode_ranks(Decoder& in, std::set<Rank>& into) {
  const std::size_t count = TRY(in.count(1));
  for (std::size_t i = 0; i < count; ++i) into.insert(Rank{static_cast<std::int32_t>(TRY(in.varint()))});
  return {};
}

bool moves_bytes(const Sizes& sizes) {
  const auto some = [](std::uint64_t bytes) { return bytes != 0; };
  return std::ranges::any_of(sizes.sends, some) || std::ranges::any_of(sizes.receives, some);
}

/// The lower rank's sends first: both ranks compare in the same order, hence find the same.
Status meet_both_ways(Rank low, const Sizes& of_low, Rank high, const Sizes& of_high) {
  TRY(port::check_sizes_meet(low, of_low.sends, high, of_high.receives));
  return port::check_sizes_meet(high, of_high.sends, low, of_low.receives);
}

}  // namespace

Agreement::Agreement(port::Net& net, port::Clock& clock, std::string name, std::uint64_t sequence, std::map<Rank, Sizes> peers,
                     std::function<bool()> stopped)
    : net_(net), clock_(clock), name_(std::move(name)), peers_(std::move(peers)), stopped_(std::move(stopped)),
      channel_(channels_of_exchanges | static_cast<std::uint32_t>(block_digest(as_bytes(name_)).low)), first_(sequence << frame_bits) {
  for (const auto& [peer, sizes] : peers_) {
    if (peer != self() && moves_bytes(sizes)) movers_.push_back(peer);
  }
}

Status Agreement::send(Rank to, Kind kind, ByteView body, port::Deadline deadline) {
  Bytes message{std::byte(kind)};
  message.insert(message.end(), body.begin(), body.end());
  if (message.size() > net_.max_message_bytes()) {
    return fail(ErrorCode::invalid_argument, "the transfers with rank {} take {} bytes to tell of, a message has at most {}", to,
                message.size(), net_.max_message_bytes());
  }
  Status sent = net_.send(to, {channel_, first_ + sent_[to]++}, std::move(message), deadline);
  if (!sent && sent.error().code == ErrorCode::peer_lost)
    return {};  // whoever waits for it hears why: its last message may be that it gave up
  return sent;
}

Result<SharedBytes> Agreement::next_message(Rank from, port::Deadline deadline) {
  while (true) {
    if (stopped_()) return fail(ErrorCode::aborted, "rank {} aborted its data plane", self());
    const port::Deadline soon{std::min(deadline.at, clock_.now() + slice)};
    Result<SharedBytes> message = net_.receive(from, {channel_, first_ + received_[from]}, soon);
    if (message) ++received_[from];
    if (message || message.error().code != ErrorCode::timeout || clock_.now() >= deadline.at) return message;
  }
}

Result<SharedBytes> Agreement::receive(Rank from, Kind kind, port::Deadline deadline) {
  const SharedBytes message = TRY(next_message(from, deadline));
  const auto found = message.empty() ? std::uint8_t{0} : std::to_integer<std::uint8_t>(message.view()[0]);
  if (found == static_cast<std::uint8_t>(kind)) return message.part(1, message.size() - 1);
  out_of_time_ = found == static_cast<std::uint8_t>(Kind::ran_out_of_time);
  if (out_of_time_ || found == static_cast<std::uint8_t>(Kind::gave_up))
    return fail(ErrorCode::peer_lost, "rank {} gave up: {}", from, as_text(message.view().subspan(1)));
  return fail(ErrorCode::corrupt, "message {} of rank {} is of kind {}; expected {}", received_[from] - 1, from, found,
              static_cast<int>(kind));
}

Status Agreement::receive_from_each(const std::vector<Rank>& ranks, Kind kind, port::Deadline deadline,
                                    const std::function<Status(Rank, ByteView)>& take) {
  std::vector<Rank> late;  // past the deadline the others are still looked at, so that only those are named
  for (const Rank rank : ranks) {
    const Result<SharedBytes> body = receive(rank, kind, deadline);
    if (body) {
      TRY(take(rank, body->view()));
    } else if (body.error().code == ErrorCode::timeout) {
      late.push_back(rank);
    } else {
      return fail(body.error());
    }
  }
  if (late.empty()) return {};
  return fail(ErrorCode::timeout, "rank {} still waits for ranks {} at the deadline", self(), fmt::join(late, ","));
}

void Agreement::encode(Encoder& out, const Hearsay& known) {
  encode_ranks(out, known.heard);
  encode_ranks(out, known.heard_of);
  out.u64(known.held_min);
  out.u64(known.held_max);
}

Status Agreement::merge(Hearsay& known, Decoder& in, bool& complete) {
  Hearsay other;
  TRY(decode_ranks(in, other.heard));
  TRY(decode_ranks(in, other.heard_of));
  other.held_min = TRY(in.u64());
  other.held_max = TRY(in.u64());
  TRY(in.finish());
  complete = other.complete();
  known.heard.insert(other.heard.begin(), other.heard.end());
  known.heard_of.insert(other.heard_of.begin(), other.heard_of.end());
  known.held_min = std::min(known.held_min, other.held_min);
  known.held_max = std::max(known.held_max, other.held_max);
  return {};
}

Status Agreement::take_offer(Rank from, ByteView body, Hearsay& known) const {
  Decoder in(body, "offer");
  const std::string name = TRY(in.text());
  const Sizes theirs = TRY(decode_sizes(in));
  if (name != name_) return fail(ErrorCode::invalid_argument, "rank {} is in exchange \"{}\"", from, name);
  const Sizes& own = peers_.at(from);
  Status met = self() < from ? meet_both_ways(self(), own, from, theirs) : meet_both_ways(from, theirs, self(), own);
  if (!MUTATE("nccl.sizes_not_checked", met.has_value(), true)) return met;
  bool complete = false;
  Hearsay of_no_mover;
  return merge(moves_bytes(own) ? known : of_no_mover, in, complete);
}

Result<Agreed> Agreement::agree(std::uint64_t held, port::Deadline deadline) {
  const auto own = peers_.find(self());
  if (own != peers_.end()) TRY(port::check_sizes_meet(self(), own->second.sends, self(), own->second.receives));
  Hearsay known{{self()}, {movers_.begin(), movers_.end()}, held, held};
  known.heard_of.insert(self());
  std::vector<Rank> others;
  for (const auto& [peer, sizes] : peers_) {
    if (peer == self()) continue;
    others.push_back(peer);
    Encoder offer;
    offer.text(name_);
    encode_sizes(offer, sizes);
    encode(offer, known);
    TRY(send(peer, Kind::offer, offer.bytes(), deadline));
  }
  TRY(receive_from_each(others, Kind::offer, deadline, [&](Rank from, ByteView body) { return take_offer(from, body, known); }));
  if (movers_.empty() && (own == peers_.end() || !moves_bytes(own->second))) return Agreed{};
  TRY(gossip(known, deadline));
  members_.assign(known.heard.begin(), known.heard.end());
  return Agreed{members_, known.held_min == known.held_max ? known.held_min : 0};
}

/// In rounds, until each mover has had from this rank, and this rank from each, a message that knows everybody.
Status Agreement::gossip(Hearsay& known, port::Deadline deadline) {
  std::vector<Rank> to_tell = movers_, to_hear = movers_;
  while (!to_tell.empty() || !to_hear.empty()) {
    Encoder out;
    encode(out, known);
    for (const Rank peer : to_tell) TRY(send(peer, Kind::hearsay, out.bytes(), deadline));
    if (known.complete()) to_tell.clear();
    std::vector<Rank> still;
    TRY(receive_from_each(to_hear, Kind::hearsay, deadline, [&](Rank from, ByteView body) -> Status {
      Decoder in(body, "hearsay");
      bool complete = false;
      TRY(merge(known, in, complete));
      if (!complete) still.push_back(from);
      return {};
    }));
    to_hear = std::move(still);
  }
  return {};
}

Status Agreement::tell(ByteView bytes, port::Deadline deadline) {
  for (const Rank member : members_) {
    if (member != self()) TRY(send(member, Kind::told, bytes, deadline));
  }
  return {};
}

Result<Bytes> Agreement::hear(port::Deadline deadline) {
  Bytes heard;
  TRY(receive_from_each({members_.front()}, Kind::told, deadline, [&](Rank, ByteView body) -> Status {
    heard = to_bytes(body);
    return {};
  }));
  return heard;
}

Status Agreement::listen(port::Deadline pause) {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const Rank member = members_[turn_++ % members_.size()];
    if (member == self() || done_.contains(member)) continue;
    const Result<SharedBytes> body = receive(member, Kind::done, pause);
    if (body) done_.insert(member);
    if (body || body.error().code == ErrorCode::timeout) return {};
    return fail(body.error());
  }
  clock_.sleep_until(pause.at);
  return {};
}

Status Agreement::ask_around(port::Deadline until) {
  const auto is_out = [&](Rank member) { return member == self() || done_.contains(member); };
  while (clock_.now() < until.at && !std::ranges::all_of(members_, is_out)) {
    TRY(listen({std::min(until.at, clock_.now() + turn_longest)}));
  }
  return {};
}

Status Agreement::finish(port::Deadline deadline) {
  std::vector<Rank> others, awaited;
  std::ranges::copy_if(members_, std::back_inserter(others), [&](Rank member) { return member != self(); });
  for (const Rank member : others) TRY(send(member, Kind::done, {}, deadline));
  if (MUTATE("nccl.done_not_awaited", false, true)) return {};
  std::ranges::copy_if(others, std::back_inserter(awaited), [&](Rank member) { return !done_.contains(member); });
  return receive_from_each(awaited, Kind::done, deadline, [](Rank, ByteView) { return Status(); });
}

void Agreement::give_up(const Error& reason, port::Deadline deadline) {
  const Kind kind = reason.code == ErrorCode::timeout ? Kind::ran_out_of_time : Kind::gave_up;
  std::set<Rank> told(members_.begin(), members_.end());
  for (const auto& [peer, sizes] : peers_) told.insert(peer);
  told.erase(self());
  for (const Rank rank : told) {
    const port::TimePoint now = clock_.now();
    if (now >= deadline.at) return;
    (void)send(rank, kind, as_bytes(reason.message), {std::min(deadline.at, now + slice)});
  }
}

}  // namespace holdfast::backend
