#include "impl/backend/tcp/links.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "impl/backend/posix/posix_error.h"
#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

std::chrono::steady_clock::time_point steady(port::Deadline deadline) {
  return std::chrono::steady_clock::time_point(deadline.at.time_since_epoch());
}

}  // namespace

Result<std::unique_ptr<Links>> Links::make(Rank self, int world_size, const TcpOptions& options) {
  CHECK(world_size > 0 && self.value >= 0 && self.value < world_size, "rank {} of {}", self, world_size);
  Fd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake) return system_error(errno, "make an eventfd");
  return std::unique_ptr<Links>(new Links(self, world_size, options, std::move(wake)));
}

Links::Links(Rank self, int world_size, const TcpOptions& options, Fd wake)
    : self_(self), options_(options), wake_(std::move(wake)), peers_(static_cast<std::size_t>(world_size)) {}

// ---- callers -------------------------------------------------------------------------------------------------------------------------

Status Links::check_peer(std::string_view call, Rank peer) const {
  if (peer == self_) return fail(ErrorCode::invalid_argument, "{} rank {}: that is this rank itself", call, peer);
  if (peer.value < 0 || peer.value >= world_size()) {
    return fail(ErrorCode::invalid_argument, "{} rank {}: there are ranks 0 to {}", call, peer, world_size() - 1);
  }
  return {};
}

std::optional<Error> Links::data_ended_locked(Rank rank) {
  if (data_aborted_) return error(ErrorCode::aborted, "rank {} aborted its data plane", self_);
  if (left_) return error(ErrorCode::peer_lost, "rank {} has left", self_);
  const Peer& peer = this->peer(rank);
  if (peer.state == State::lost) return error(ErrorCode::peer_lost, "rank {} is lost: {}", rank, peer.trouble);
  if (peer.data_aborted) {
    return error(MUTATE("tcp.abort_of_peer_is_own", ErrorCode::peer_lost, ErrorCode::aborted), "rank {} aborted its data plane", rank);
  }
  return std::nullopt;
}

std::optional<Error> Links::data_ended(Rank peer) {
  const std::scoped_lock lock(mutex_);
  return data_ended_locked(peer);
}

std::optional<Error> Links::ended(FrameKind kind, Rank rank) {
  if (kind == FrameKind::data) return data_ended_locked(rank);
  if (left_) return error(ErrorCode::peer_lost, "rank {} has left", self_);
  const Peer& peer = this->peer(rank);
  if (peer.state == State::lost) return error(ErrorCode::peer_lost, "rank {} is lost: {}", rank, peer.trouble);
  return std::nullopt;
}

Status Links::send(FrameKind kind, Rank to, port::Tag tag, SharedBytes message, port::Deadline deadline) {
  TRY(check_peer("send to", to));
  OutFrame frame{frame_head(kind, tag, message.view()), std::move(message)};
  std::unique_lock lock(mutex_);
  Peer& peer = this->peer(to);
  std::optional<Error> over;
  const auto has_room = [&] {
    over = ended(kind, to);
    return over || peer.unsent_bytes == 0 || peer.unsent_bytes + frame.size() <= options_.unsent_bytes_max;
  };
  want(to);
  ++senders_waiting_;
  const bool in_time = changed_.wait_until(lock, steady(deadline), has_room);
  --senders_waiting_;
  if (!in_time) {
    return fail(ErrorCode::timeout, "send to rank {}: {} bytes that were sent before are still here at the deadline", to,
                peer.unsent_bytes);
  }
  if (over) return fail(within(*std::move(over), "send to rank {}", to));
  const auto [last, first] = peer.last_sent.try_emplace({kind, tag.channel}, tag.sequence);
  CHECK(first || tag.sequence > last->second, "rank {} sends sequence {} after {} to rank {} on channel {}", self_, tag.sequence,
        last->second, to, tag.channel);
  last->second = tag.sequence;
  push(to, std::move(frame));
  return {};
}

Result<SharedBytes> Links::receive(FrameKind kind, Rank from, port::Tag tag, port::Deadline deadline) {
  TRY(check_peer("receive from", from));
  std::unique_lock lock(mutex_);
  Peer& peer = this->peer(from);
  port::Lane& lane = peer.inbox[{kind, tag.channel}];
  std::optional<SharedBytes> found;
  std::optional<Error> over;
  const auto settled = [&] {
    over = ended(kind, from);
    // What the peer sent before its end still counts; not so after our own.
    const bool own_end = left_ || (kind == FrameKind::data && data_aborted_);
    if (MUTATE("tcp.end_before_messages", !own_end, !over)) found = lane.take(tag.sequence);
    return found || over;
  };
  want(from);  // its end is only seen over a connection
  const port::Deadline until = MUTATE("tcp.deadline_ignored", deadline, port::Deadline{deadline.at + std::chrono::minutes(1)});
  changed_.wait_until(lock, steady(until), settled);
  if (found) return *std::move(found);
  const std::string what = fmt::format("receive from rank {} (channel {}, sequence {})", from, tag.channel, tag.sequence);
  if (over) return fail(within(*std::move(over), "{}", what));
  if (peer.state == State::up) return fail(ErrorCode::timeout, "{}: nothing came by the deadline", what);
  return fail(ErrorCode::timeout, "{}: no connection by the deadline{}{}", what, peer.trouble.empty() ? "" : "; ", peer.trouble);
}

void Links::abort_data() {
  const std::scoped_lock lock(mutex_);
  if (std::exchange(data_aborted_, true)) return;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (peers_[i].state == State::up) push(rank_of(i), {frame_head(FrameKind::data_aborted, {}, {}), {}});
  }
  changed_.notify_all();
}

Status Links::leave(port::Deadline deadline) {
  std::unique_lock lock(mutex_);
  left_ = true;
  requests_.leaving = true;
  wake_reactor();
  changed_.notify_all();
  std::vector<Rank> open;
  const auto all_over = [&] {
    open.clear();
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      const Peer& peer = peers_[i];
      const bool to_be_made = (peer.state == State::wanted || peer.state == State::connecting) && peer.unsent_bytes != 0;
      if (peer.state == State::up || to_be_made) open.push_back(rank_of(i));
    }
    return open.empty();
  };
  if (MUTATE("tcp.leaves_at_once", changed_.wait_until(lock, steady(deadline), all_over), true)) return {};
  return fail(ErrorCode::timeout, "leave the job as rank {}: ranks {} have not taken everything by the deadline", self_,
              fmt::join(open, ","));
}

// ---- joining -------------------------------------------------------------------------------------------------------------------------

void Links::set_addresses(Rank rank, std::vector<Address> addresses) {
  const std::scoped_lock lock(mutex_);
  peer(rank).addresses = std::move(addresses);
}

Address Links::address_of(Rank rank) {
  const std::scoped_lock lock(mutex_);
  const Peer& peer = this->peer(rank);
  CHECK(!peer.addresses.empty(), "rank {} has no address", rank);
  return peer.addresses[(peer.attempts + peer.addresses.size() - 1) % peer.addresses.size()];
}

bool Links::is_up(Rank rank) {
  const std::scoped_lock lock(mutex_);
  return peer(rank).state == State::up;
}

void Links::gathered() {
  const std::scoped_lock lock(mutex_);
  gathering_ = false;
}

Status Links::await_everybody(port::Deadline deadline) {
  std::unique_lock lock(mutex_);
  std::vector<Rank> missing;
  std::optional<Error> over;
  const auto settled = [&] {
    missing.clear();
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      if (rank_of(i) == self_ || peers_[i].state == State::up) continue;
      missing.push_back(rank_of(i));
      if (!over) over = ended(FrameKind::table, rank_of(i));
    }
    return missing.empty() || over;
  };
  const bool in_time = changed_.wait_until(lock, steady(deadline), settled);
  if (over) return fail(*std::move(over));
  if (in_time) return {};
  std::string text = fmt::format("ranks {} of {} have not come by the deadline", fmt::join(missing, ","), world_size());
  if (turned_away_ != 0) text += fmt::format("; turned away: {}, last {}", turned_away_, turned_away_last_);
  return fail(ErrorCode::timeout, "{}", text);
}

// ---- the reactor ---------------------------------------------------------------------------------------------------------------------

void Links::wake_reactor() {
  if (std::exchange(woken_, true)) return;
  const std::uint64_t one = 1;
  CHECK(::write(wake_.get(), &one, sizeof one) == sizeof one, "an eventfd takes a one");
}

Links::Requests Links::take_requests() {
  const std::scoped_lock lock(mutex_);
  if (std::exchange(woken_, false)) {
    std::uint64_t count = 0;
    CHECK(::read(wake_.get(), &count, sizeof count) == sizeof count, "an eventfd gives what was put in");
  }
  Requests taken = std::move(requests_);
  requests_ = {{}, {}, taken.leaving, taken.stop};
  return taken;
}

void Links::stop() {
  const std::scoped_lock lock(mutex_);
  requests_.stop = true;
  wake_reactor();
}

void Links::want(Rank rank) {
  if (peer(rank).state != State::idle || left_) return;
  peer(rank).state = State::wanted;
  requests_.wanted.push_back(rank);
  wake_reactor();
}

void Links::push(Rank rank, OutFrame frame) {
  Peer& peer = this->peer(rank);
  peer.unsent_bytes += frame.size();
  peer.outbox.push_back(std::move(frame));
  requests_.loaded.push_back(rank);
  wake_reactor();
}

std::optional<Address> Links::begin_attempt(Rank rank) {
  const std::scoped_lock lock(mutex_);
  Peer& peer = this->peer(rank);
  if (peer.state != State::wanted || (left_ && peer.unsent_bytes == 0)) return std::nullopt;
  CHECK(!peer.addresses.empty(), "rank {} has no address", rank);
  peer.state = State::connecting;
  return peer.addresses[peer.attempts++ % peer.addresses.size()];
}

bool Links::attempt_ended(Rank rank, AttemptEnd how, const std::string& why) {
  const std::scoped_lock lock(mutex_);
  Peer& peer = this->peer(rank);
  if (peer.state != State::connecting) return false;
  if (how == AttemptEnd::again || (how == AttemptEnd::gone && gathering_)) {
    MARK("tcp.attempt_again");
    peer.trouble = why;
    peer.state = State::wanted;
    return true;
  }
  set_lost(rank, why);
  return false;
}

Answer Links::admit(const Hello& hello, const Address& listener) {
  const auto refuse = [](std::string why) { return Answer{Verdict::refused, std::move(why)}; };
  if (hello.to != self_) return refuse(fmt::format("rank {} is called, this is rank {}", hello.to, self_));
  if (hello.world_size != world_size()) {
    return refuse(fmt::format("rank {} has a world of {} ranks, rank {} one of {}", hello.from, hello.world_size, self_, world_size()));
  }
  if (hello.from == self_ || hello.from.value < 0 || hello.from.value >= world_size()) {
    return refuse(fmt::format("rank {} calls; expected another rank than {} of 0 to {}", hello.from, self_, world_size() - 1));
  }
  if (hello.message_bytes_max != options_.message_bytes_max) {
    return refuse(fmt::format("rank {} has messages of {} bytes at most, rank {} of {}", hello.from, hello.message_bytes_max, self_,
                              options_.message_bytes_max));
  }
  const std::scoped_lock lock(mutex_);
  Peer& peer = this->peer(hello.from);
  if (left_ && peer.unsent_bytes == 0) return refuse(fmt::format("rank {} has left", self_));
  if (peer.state == State::up) {
    return refuse(fmt::format("rank {} is here already, from {}", hello.from, to_string(peer.addresses.front())));
  }
  if (peer.state == State::lost) return refuse(fmt::format("rank {} was lost: {}", hello.from, peer.trouble));
  if (peer.state == State::connecting && self_ < hello.from) {
    MARK("tcp.crossed");
    return {Verdict::crossed, fmt::format("rank {} is calling rank {}", self_, hello.from)};
  }
  peer.addresses = {listener};
  set_up(hello.from);
  return {Verdict::welcome, {}};
}

void Links::came_up(Rank rank) {
  const std::scoped_lock lock(mutex_);
  set_up(rank);
}

void Links::set_up(Rank rank) {
  peer(rank).state = State::up;
  peer(rank).trouble.clear();
  if (data_aborted_) push(rank, {frame_head(FrameKind::data_aborted, {}, {}), {}});
  requests_.loaded.push_back(rank);  // with what was sent while there was no connection
  wake_reactor();
  changed_.notify_all();
}

void Links::lost(Rank rank, std::string why) {
  const std::scoped_lock lock(mutex_);
  set_lost(rank, std::move(why));
}

void Links::set_lost(Rank rank, std::string why) {
  MARK("tcp.lost");
  Peer& peer = this->peer(rank);
  peer.state = State::lost;
  peer.trouble = std::move(why);
  peer.outbox.clear();
  peer.unsent_bytes = 0;
  changed_.notify_all();
}

Status Links::deliver(Rank rank, std::vector<Frame>& frames) {
  if (frames.empty()) return {};
  const std::scoped_lock lock(mutex_);
  Peer& peer = this->peer(rank);
  for (Frame& frame : frames) {
    if (frame.kind == FrameKind::data_aborted) {
      peer.data_aborted = true;
      continue;
    }
    port::Lane& lane = peer.inbox[{frame.kind, frame.tag.channel}];
    if (left_) continue;  // nobody will ask for it
    if (lane.push(frame.tag.sequence, std::move(frame.payload))) continue;
    return fail(ErrorCode::corrupt, "frame (channel {}, sequence {}): expected a sequence above {}", frame.tag.channel, frame.tag.sequence,
                lane.last().value_or(0));
  }
  frames.clear();
  changed_.notify_all();
  return {};
}

std::deque<OutFrame> Links::take_outbox(Rank rank) {
  const std::scoped_lock lock(mutex_);
  return std::exchange(peer(rank).outbox, {});
}

void Links::sent(Rank rank, std::size_t bytes) {
  const std::scoped_lock lock(mutex_);
  peer(rank).unsent_bytes -= bytes;
  if (senders_waiting_ != 0 || left_) changed_.notify_all();
}

void Links::turned_away(std::string why) {
  MARK("tcp.turned_away");
  const std::scoped_lock lock(mutex_);
  ++turned_away_;
  turned_away_last_ = std::move(why);
}

}  // namespace holdfast::backend
