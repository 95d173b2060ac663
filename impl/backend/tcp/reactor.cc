#include "impl/backend/tcp/reactor.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <new>
#include <system_error>

#include "impl/backend/posix/posix_error.h"
#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

constexpr std::uint64_t listener_id = 0;
constexpr std::uint64_t wake_id = 1;
constexpr std::size_t unproved_max = 128;  ///< connections, and one a rank, that have not yet proved that they know the secret
constexpr std::uint64_t first_connection_id = 2;
constexpr std::size_t table_bytes_a_rank = 64;
constexpr std::size_t data_bytes_max = std::size_t{16} << 20;
constexpr std::size_t scratch_bytes = std::size_t{256} << 10;
constexpr std::chrono::milliseconds retry_first{20}, retry_last{1000}, listener_pause{100};

}  // namespace

Result<std::unique_ptr<Reactor>> Reactor::start(Links& links, const JobKey& key, Fd listener) {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return system_error(errno, "make an epoll");
  const Address here = TRY(local_address(listener));
  std::unique_ptr<Reactor> reactor(new Reactor(links, key, std::move(listener), here.port(), std::move(epoll)));
  if (!reactor->watch(reactor->listener_.get(), listener_id, EPOLLIN, false) ||
      !reactor->watch(links.wake().get(), wake_id, EPOLLIN, false)) {
    return system_error(errno, "watch a listener");
  }
  // Signals of the process are for its own threads.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::string refusal;
  try {
    reactor->thread_ = std::thread([self = reactor.get()] { self->run(); });
  } catch (const std::system_error& refused) {
    refusal = refused.code().message();
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!refusal.empty()) return fail(ErrorCode::io_error, "start the thread of the network: {}", refusal);
  return reactor;
}

Reactor::Reactor(Links& links, const JobKey& key, Fd listener, std::uint16_t listener_port, Fd epoll)
    : links_(links), key_(key), listener_(std::move(listener)), listener_port_(listener_port), epoll_(std::move(epoll)),
      next_id_(first_connection_id), scratch_(scratch_bytes) {}

Reactor::~Reactor() {
  if (!thread_.joinable()) return;
  links_.stop();
  thread_.join();
}

FrameLimits Reactor::limits() const {
  return {links_.options().message_bytes_max, table_bytes_a_rank * static_cast<std::size_t>(links_.world_size() + 1), data_bytes_max};
}

bool Reactor::watch(int fd, std::uint64_t id, std::uint32_t events, bool known) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  return ::epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0;
}

void Reactor::run() {
  ::pthread_setname_np(::pthread_self(), "holdfast-tcp");
  std::vector<epoll_event> events(256);
  while (true) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), milliseconds_to_wait());
    CHECK(count >= 0 || errno == EINTR, "epoll_wait: {}", errno_text(errno));
    for (int i = 0; i < count; ++i) serve_event(events[static_cast<std::size_t>(i)].data.u64, events[static_cast<std::size_t>(i)].events);
    if (!serve_requests()) break;
    serve_timers();  // after the events: what came while this process was stopped still counts
  }
  connections_.clear();
}

int Reactor::milliseconds_to_wait() const {
  Time next = Time::max();
  if (!unproved_.empty()) next = unproved_.begin()->first;
  for (const auto& [rank, retry] : retries_) next = std::min(next, retry.at == Time{} ? next : retry.at);
  if (listener_paused_) next = std::min(next, listener_paused_until_);
  if (next == Time::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void Reactor::serve_event(std::uint64_t id, std::uint32_t events) {
  if (id == wake_id) return;  // the requests are looked at anyway
  if (id == listener_id) return accept_all();
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;  // dropped by an event before this one
  try {
    serve(*found->second, events);
  } catch (const std::bad_alloc&) {  // large things are asked for where they come, FrameReader's: here even small ones are refused
    const auto still = connections_.find(id);
    if (still != connections_.end()) drop(*still->second, AttemptEnd::refused, "out of memory for what it sent");
  }
}

void Reactor::serve(Connection& connection, std::uint32_t events) {
  const std::uint64_t id = connection.id;
  if (connection.stage == Stage::connecting) {
    const int problem = connect_result(connection.fd);
    if (problem != 0) return drop(connection, problem == ECONNREFUSED ? AttemptEnd::gone : AttemptEnd::again, errno_text(problem));
    connection.stage = Stage::challenge;
    connection.interest = EPOLLIN;
    if (!watch(connection.fd.get(), id, connection.interest, true)) drop(connection, AttemptEnd::again, errno_text(errno));
    return;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(connection);
  if ((events & EPOLLOUT) != 0 && connections_.contains(id)) write(connection);
}

bool Reactor::serve_requests() {
  const Links::Requests requests = links_.take_requests();
  if (requests.stop) return false;
  for (const Rank rank : requests.wanted) call(rank);
  for (const Rank rank : requests.loaded) load(rank);
  if (requests.leaving && !std::exchange(leaving_, true)) {
    // The listener stays: who calls is told that this rank has left, or gets what is still to be sent to it.
    std::vector<std::uint64_t> up;
    for (const auto& [id, connection] : connections_) {
      if (connection->stage == Stage::up) up.push_back(id);
    }
    for (const std::uint64_t id : up) write(*connections_.at(id));
  }
  return true;
}

void Reactor::serve_timers() {
  const Time now = std::chrono::steady_clock::now();
  while (!unproved_.empty() && unproved_.begin()->first <= now) {
    MARK("tcp.handshake_late");
    Connection& late = *connections_.at(unproved_.begin()->second);
    drop(late, AttemptEnd::again, "it did not complete the handshake in time");
  }
  std::vector<Rank> due;
  for (auto& [rank, retry] : retries_) {
    if (retry.at == Time{} || retry.at > now) continue;
    retry.at = {};
    due.push_back(rank);
  }
  for (const Rank rank : due) call(rank);
  if (listener_paused_ && listener_paused_until_ <= now) {
    listener_paused_ = false;
    if (!watch(listener_.get(), listener_id, EPOLLIN, true)) pause_listener();
  }
}

// ---- connections that begin ----------------------------------------------------------------------------------------------------------

void Reactor::accept_all() {
  while (true) {
    // Whoever does not know the secret must not take all descriptors of the process.
    const bool full = unproved_.size() >= unproved_max + static_cast<std::size_t>(links_.world_size());
    if (MUTATE("tcp.callers_unlimited", full, false)) return pause_listener();
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    Fd fd(::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&storage), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (!fd && errno == EAGAIN) return;
    if (!fd) {
      links_.turned_away(fmt::format("a caller, for the system refuses: {}", errno_text(errno)));
      return pause_listener();
    }
    const auto remote = Address::from_system(reinterpret_cast<const sockaddr*>(&storage), size);
    if (!remote) continue;
    auto connection = std::make_unique<Connection>(next_id_++, std::move(fd), *remote, std::nullopt, limits());
    const Status configured = configure(connection->fd, links_.options().silence_limit);
    const Result<Nonce> nonce = fresh_nonce();
    Status greeted = configured ? (nonce ? Status() : fail(nonce.error())) : configured;
    if (greeted) {
      connection->challenge = Bytes(nonce->begin(), nonce->end());
      greeted = connection->say(encode_challenge(*nonce));
    }
    if (greeted) {
      begin(std::move(connection), EPOLLIN);
    } else {
      links_.turned_away(fmt::format("{}: {}", connection->name(), greeted.error().message));
    }
  }
}

/// The system has no descriptor or memory for another connection: whoever calls waits in its queue.
void Reactor::pause_listener() {
  MARK("tcp.listener_paused");
  listener_paused_ = true;
  listener_paused_until_ = std::chrono::steady_clock::now() + listener_pause;
  CHECK(watch(listener_.get(), listener_id, 0, true), "an epoll lets a listener rest: {}", errno_text(errno));
}

void Reactor::call(Rank rank) {
  const std::optional<Address> address = links_.begin_attempt(rank);
  if (!address) return;
  Fd fd;
  const int problem = begin_connect(*address, fd);
  const Status configured = problem == 0 ? configure(fd, links_.options().silence_limit) : Status();
  if (problem != 0 || !configured) {
    const std::string why = problem != 0 ? errno_text(problem) : configured.error().message;
    return attempt_over(rank, problem == ECONNREFUSED ? AttemptEnd::gone : AttemptEnd::again,
                        fmt::format("rank {} at {}: {}", rank, to_string(*address), why));
  }
  begin(std::make_unique<Connection>(next_id_++, std::move(fd), *address, rank, limits()), EPOLLOUT);
}

void Reactor::begin(std::unique_ptr<Connection> owned, std::uint32_t events) {
  Connection& connection = *owned;
  connections_.emplace(connection.id, std::move(owned));
  if (connection.peer) by_rank_[*connection.peer] = connection.id;
  connection.until = std::chrono::steady_clock::now() + links_.options().handshake_limit;
  unproved_.emplace(connection.until, connection.id);
  connection.interest = events;
  if (!watch(connection.fd.get(), connection.id, events, false)) drop(connection, AttemptEnd::again, errno_text(errno));
}

/// The connection is over, and with it, if it was up, its rank.
void Reactor::drop(Connection& connection, AttemptEnd how, const std::string& why) {
  std::string text = fmt::format("{}: {}", connection.name(), why);  // what can be refused comes before anything is changed
  const std::optional<Rank> peer = connection.peer;
  const Stage stage = connection.stage;
  unproved_.erase({connection.until, connection.id});
  if (peer) by_rank_.erase(*peer);
  connections_.erase(connection.id);
  if (stage == Stage::up) {
    links_.lost(*peer, std::move(text));
  } else if (stage == Stage::hello) {
    links_.turned_away(std::move(text));
  } else {
    attempt_over(*peer, how, text);
  }
}

void Reactor::attempt_over(Rank rank, AttemptEnd how, const std::string& why) {
  if (!links_.attempt_ended(rank, how, why)) {
    retries_.erase(rank);
    return;
  }
  Retry& retry = retries_[rank];
  const auto delay = std::min<std::chrono::milliseconds>(retry_first * (1 << std::min(retry.failures++, 8)), retry_last);
  retry.at = std::chrono::steady_clock::now() + delay;
}

// ---- the handshake -------------------------------------------------------------------------------------------------------------------

void Reactor::read(Connection& connection) {
  if (connection.stage != Stage::up) {
    const Result<bool> whole = connection.read_handshake();
    if (!whole) {
      const AttemptEnd how = whole.error().code == ErrorCode::peer_lost ? AttemptEnd::again : AttemptEnd::refused;
      return drop(connection, how, whole.error().message);
    }
    if (*whole) step(connection);
    return;
  }
  std::vector<Frame> frames;
  Status read = connection.read_frames(scratch_, frames);
  const Status delivered = links_.deliver(*connection.peer, frames);
  if (read && !delivered) read = delivered;
  if (MUTATE("tcp.end_unseen", read.has_value(), read || read.error().code == ErrorCode::peer_lost)) return;
  drop(connection, AttemptEnd::refused, read.error().message);
}

void Reactor::step(Connection& connection) {
  if (connection.stage == Stage::hello) return hear_hello(connection);
  if (connection.stage == Stage::answer) return hear_answer(connection);
  const Status said = say_hello(connection);
  if (said) return;
  drop(connection, said.error().code == ErrorCode::peer_lost ? AttemptEnd::again : AttemptEnd::refused, said.error().message);
}

Status Reactor::say_hello(Connection& connection) {
  connection.challenge = to_bytes(connection.handshake.body());
  TRY(check_challenge(connection.challenge));
  Hello hello;
  hello.nonce = TRY(fresh_nonce());
  hello.from = links_.self();
  hello.to = *connection.peer;
  hello.world_size = links_.world_size();
  hello.message_bytes_max = links_.options().message_bytes_max;
  hello.listener_port = listener_port_;
  const Bytes message = TRY(encode_hello(hello, connection.challenge, key_));
  connection.hello = to_bytes(handshake_body(message));
  connection.handshake = HandshakeReader(HandshakeKind::answer);
  connection.stage = Stage::answer;
  return connection.say(message);
}

void Reactor::hear_hello(Connection& connection) {
  // After a stop of this process: were it let in, its end would count as the loss of a rank that has only called again.
  const bool late = std::chrono::steady_clock::now() >= connection.until - links_.options().handshake_limit / 2;
  if (MUTATE("tcp.late_hello_heard", late, false))
    return drop(connection, AttemptEnd::again, "its hello came so late that the caller may have given up");
  connection.hello = to_bytes(connection.handshake.body());
  const Result<Hello> hello = decode_hello(connection.hello, connection.challenge, key_);
  Answer answer{Verdict::refused, hello ? std::string() : hello.error().message};
  if (hello) answer = links_.admit(*hello, connection.remote.with_port(hello->listener_port));
  const Result<Bytes> message = encode_answer(answer, connection.challenge, connection.hello, key_);
  const Status said = message ? connection.say(*message) : fail(message.error());
  if (answer.verdict != Verdict::welcome) return drop(connection, AttemptEnd::refused, answer.reason);
  if (const auto own = by_rank_.find(hello->from); own != by_rank_.end()) {
    MARK("tcp.gave_way");  // both called; this connection stands, and ours is forgotten
    const auto ours = connections_.find(own->second);
    unproved_.erase({ours->second->until, ours->first});
    connections_.erase(ours);
  }
  connection.peer = hello->from;
  set_up(connection);
  if (!said) drop(connection, AttemptEnd::refused, said.error().message);
}

void Reactor::hear_answer(Connection& connection) {
  const Result<Answer> answer = decode_answer(connection.handshake.body(), connection.challenge, connection.hello, key_);
  if (!answer) return drop(connection, AttemptEnd::refused, answer.error().message);
  if (answer->verdict == Verdict::crossed) return drop(connection, AttemptEnd::again, answer->reason);
  if (answer->verdict == Verdict::refused) return drop(connection, AttemptEnd::refused, fmt::format("it refuses: {}", answer->reason));
  const Rank peer = *connection.peer;
  set_up(connection);
  links_.came_up(peer);
}

void Reactor::set_up(Connection& connection) {
  connection.stage = Stage::up;
  by_rank_[*connection.peer] = connection.id;
  unproved_.erase({connection.until, connection.id});
  retries_.erase(*connection.peer);
}

// ---- sending -------------------------------------------------------------------------------------------------------------------------

void Reactor::load(Rank rank) {
  const auto found = by_rank_.find(rank);
  if (found == by_rank_.end()) return;
  Connection& connection = *connections_.at(found->second);
  if (connection.stage != Stage::up) return;  // it is asked for again once it is
  for (OutFrame& frame : links_.take_outbox(rank)) connection.sending.push_back(std::move(frame));
  write(connection);
}

void Reactor::write(Connection& connection) {
  const Result<std::size_t> sent = connection.flush();
  if (!sent) return drop(connection, AttemptEnd::refused, sent.error().message);
  if (*sent != 0) links_.sent(*connection.peer, *sent);
  if (leaving_ && connection.sending.empty() && !std::exchange(connection.half_closed, true)) {
    ::shutdown(connection.fd.get(), SHUT_WR);  // the peer ends the connection once it has read all; then there is nothing it can lose
  }
  const std::uint32_t wanted = connection.sending.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT;
  if (wanted == std::exchange(connection.interest, wanted)) return;
  if (!watch(connection.fd.get(), connection.id, wanted, true)) drop(connection, AttemptEnd::refused, errno_text(errno));
}

}  // namespace holdfast::backend
