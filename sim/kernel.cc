#include "sim/kernel.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>

#include "impl/core/check.h"

namespace holdfast::sim {
namespace {

// Typical cost of a call, and what a latency decision makes of it: often nothing, now and then very late.
constexpr std::array<Nanoseconds, 8> stretch = {0, 1, 1, 2, 2, 3, 8, 40};

constexpr Nanoseconds usual_latency(Op op) {
  switch (op) {
    case Op::storage_sync:
    case Op::storage_sync_directory: return 150'000;
    case Op::storage_write:
    case Op::storage_read: return 30'000;
    case Op::net_send:
    case Op::net_receive:
    case Op::data_exchange:
    case Op::tasks_spawn:
    case Op::tasks_join:
    case Op::tasks_wait: return 1'000;
    case Op::clock_sleep: return 0;
    default: return op >= Op::device_allocate_staging ? 2'000 : 10'000;
  }
}

// A rank may swallow its kill so often before the run stops being one.
constexpr std::uint32_t swallowed_max = 1000;

bool in_handler() {
  struct Globals {
    void* caught;
    unsigned int uncaught;
  };
  return reinterpret_cast<const Globals*>(abi::__cxa_get_globals())->caught != nullptr;
}

}  // namespace

std::string to_string(const CallInfo& info) {
  std::string text = to_string(info.op);
  if (info.peer >= 0) text += fmt::format(" rank {} #{}", info.peer, info.number);
  if (!info.object.empty()) text += fmt::format(" \"{}\"", info.object);
  if (info.op == Op::data_exchange || info.op == Op::tasks_join) text += fmt::format(" #{}", info.number);
  if (!info.other.empty()) text += fmt::format(" -> \"{}\"", info.other);
  return text;
}

Kernel::Kernel(const Scenario& scenario, Engine& engine, Decisions& decisions, Trace& trace)
    : scenario_(scenario), decisions_(decisions), trace_(trace), scheduler_(engine, decisions, *this, !scenario.random_latency),
      faults_(scenario.faults), ranks_(static_cast<std::size_t>(scenario.world_size)), hash_(trace.event_hash) {
  for (const Stop& stop : scenario.stops) stops_.push_back({stop});
  std::stable_sort(faults_.begin(), faults_.end(), [](const Fault& a, const Fault& b) { return a.site < b.site; });
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    ranks_[i].rank = {static_cast<std::int32_t>(i)};
    ranks_[i].leak.rank = ranks_[i].rank;
    const auto first = std::lower_bound(faults_.begin(), faults_.end(), Site{ranks_[i].rank, 0},
                                        [](const Fault& fault, const Site& site) { return fault.site < site; });
    ranks_[i].fault = static_cast<std::size_t>(first - faults_.begin());
  }
}

Fiber& Kernel::spawn(RankState& rank, std::function<void()> body) {
  rank.fibers.push_back(std::make_unique<Fiber>());
  Fiber& fiber = *rank.fibers.back();
  fiber.rank = rank.rank.value;
  fiber.task = static_cast<std::int32_t>(rank.fibers.size() - 1);
  fiber.body = [this, &rank, &fiber, body = std::move(body)] { run_body(rank, fiber, body); };
  ++rank.alive;
  scheduler_.start(fiber);
  return fiber;
}

void Kernel::run_body(RankState& rank, Fiber& fiber, const std::function<void()>& body) {
  std::string what;
  try {
    if (rank.stopped) {
      const tsan::Inside inside;
      hold(rank);
      if (rank.dead) return;
    }
    body();
    if (fiber.kills_thrown > 0)
      trace_.harness_error = fmt::format("rank {} task {} swallowed its kill with a catch (...)", fiber.rank, fiber.task);
    return;
  } catch (const Killed&) {
    return;
  } catch (const std::exception& exception) {
    what = exception.what();
  } catch (...) {
    what = "something that is no std::exception";
  }
  const tsan::Inside inside;
  if (rank.dead || rank.end.how == RankEnd::threw) return;
  rank.end = {RankEnd::threw, fiber.task == 0 ? what : fmt::format("task {}: {}", fiber.task, what)};
}

void Kernel::fiber_ended(Fiber& fiber) {
  RankState& state = ranks_[static_cast<std::size_t>(fiber.rank)];
  if (fiber.task == 0 && !state.dead) {
    for (const auto& task : state.fibers) state.leak.tasks_unjoined += task->task != 0 && !task->given_up;
  }
  if (--state.alive != 0) return;
  state.ended = true;
  if (!state.dead) {
    for (Listener* listener : listeners_) listener->rank_gone(state);
  }
}

void Kernel::check_limits() {
  if (stopping_) return;
  if (!decisions_.divergence().empty()) {
    stopping_ = true;
    trace_.diverged = fmt::format("diverged at event {}: {}", trace_.events, decisions_.divergence());
    kill_all(RankEnd::killed, "the replayed decisions do not fit");
  } else if (trace_.events + scheduler_.switches() > scenario_.events_max) {
    stopping_ = true;
    trace_.harness_error = fmt::format("livelock: more than {} events and switches, at {} ns", scenario_.events_max, now());
    kill_all(RankEnd::killed, "the run was stopped: livelock");
  }
}

void Kernel::deadlocked() {
  const auto stopped = [](const RankState& rank) { return rank.stopped; };
  if (std::ranges::any_of(ranks_, stopped)) {
    for (RankState& rank : ranks_) go_on(rank);
    return;
  }
  for (const RankState& state : ranks_) {
    for (const auto& fiber : state.fibers) {
      if (fiber->state != Fiber::State::waiting || !fiber->waits_for) continue;
      trace_.deadlock += fmt::format("rank {} task {} waits for {} since {} ns\n", fiber->rank, fiber->task, to_string(*fiber->waits_for),
                                     fiber->waits_since);
    }
  }
  kill_all(RankEnd::deadlocked, "nothing could happen any more");
}

void Kernel::kill(RankState& rank, RankEnd::How how, std::string_view what) {
  if (rank.dead || rank.ended) return;
  rank.dead = true;
  if (rank.end.how != RankEnd::threw) rank.end = {how, std::string(what)};
  for (Listener* listener : listeners_) listener->rank_gone(rank);
  // A task may use what its spawner owns, so the youngest is unwound first.
  for (auto fiber = rank.fibers.rbegin(); fiber != rank.fibers.rend(); ++fiber) {
    if ((*fiber)->state != Fiber::State::ended) scheduler_.unwind(**fiber);
  }
}

void Kernel::kill_all(RankEnd::How how, std::string_view what) {
  for (RankState& rank : ranks_) kill(rank, how, what);
}

/// Is the rank alive? If not: throws where that is possible, and answers false where it is not (a destructor, a handler, a
/// call that cannot fail).
bool Kernel::may_go_on(RankState& rank, Op op) {
  if (!rank.dead) [[likely]]
    return true;
  Fiber* self = scheduler_.running();
  if (!self || op == Op::storage_close || std::uncaught_exceptions() > 0 || in_handler()) return false;
  if (self->kills_thrown++ > 0) {
    trace_.harness_error = fmt::format("rank {} task {} swallowed its kill with a catch (...)", self->rank, self->task);
    CHECK(self->kills_thrown < swallowed_max, "rank {} task {} swallows its kill for ever", self->rank, self->task);
  }
  throw Killed{};
}

/// The call at `site` is about to begin: ends the stops that wait for it, and begins those at it.
void Kernel::meet_stops(const Site& site) {
  for (const PendingStop& pending : stops_) {
    if (pending.stop.until == site && pending.began) go_on(rank(pending.stop.at.rank));
  }
  std::erase_if(stops_, [&](const PendingStop& pending) { return pending.stop.until == site; });
  for (PendingStop& pending : stops_) {
    if (pending.stop.at != site || pending.began) continue;
    pending.began = true;
    rank(site.rank).stopped = true;
  }
  hold(rank(site.rank));
}

/// Holds the running fibre while its rank is stopped.
void Kernel::hold(RankState& rank) {
  while (rank.stopped && !rank.dead) {
    rank.held.push_back(scheduler_.running());
    scheduler_.wait(never);
  }
}

void Kernel::go_on(RankState& rank) {
  if (!std::exchange(rank.stopped, false)) return;
  ++trace_.stops;
  for (Fiber* fiber : std::exchange(rank.held, {})) scheduler_.wake(*fiber);
}

const Fault* Kernel::fault_at(RankState& rank, const CallInfo& info, std::uint32_t ordinal) {
  const Site site{rank.rank, ordinal};
  for (; rank.fault < faults_.size() && faults_[rank.fault].site <= site; ++rank.fault) {
    const Fault& fault = faults_[rank.fault];
    if (fault.site != site || !is_applicable(info.op, fault.kind)) continue;
    if (fault.kind == FaultKind::bit_flip && info.bytes == 0) continue;
    trace_.fired.push_back(fault);
    return &faults_[rank.fault++];
  }
  return nullptr;
}

bool Kernel::begin(RankState& rank, const CallInfo& info, Begun& begun) {
  if (!may_go_on(rank, info.op)) return false;
  if (!stops_.empty()) {
    meet_stops({rank.rank, rank.calls});
    if (!may_go_on(rank, info.op)) return false;
  }
  const std::uint32_t ordinal = rank.calls++;
  ++trace_.door_calls;
  begun.begin = now();
  begun.task = scheduler_.running()->task;
  begun.fault = fault_at(rank, info, ordinal);
  if (scenario_.record_events) {
    SiteRecord site{{rank.rank, ordinal}, to_string(info.op), to_string(info).substr(std::string_view(to_string(info.op)).size())};
    if (!site.object.empty()) site.object.erase(0, 1);
    begun.record = trace_.record.size();
    trace_.record.push_back({begun.begin, begun.begin, rank.rank, begun.task, rank.step, site.op, site.object, info.bytes, "unfinished",
                             begun.fault ? to_string(begun.fault->kind) : ""});
    trace_.sites.push_back(std::move(site));
  }
  if (scenario_.interceptor) scenario_.interceptor->before({{rank.rank, ordinal}, to_string(info.op), std::string(info.object)});
  begun.completion = begun.begin + latency(info.op);
  if (!begun.fault) return true;
  switch (begun.fault->kind) {
    case FaultKind::kill_rank:
    case FaultKind::power_loss:
      if (begun.fault->kind == FaultKind::kill_rank) {
        kill(rank, RankEnd::killed, "kill_rank");
      } else {
        trace_.power_lost = true;
        kill_all(RankEnd::killed, "power_loss");
      }
      scheduler_.stop();
      return may_go_on(rank, info.op);
    case FaultKind::delay: begun.completion = begun.begin + begun.fault->delay.count(); return true;
    case FaultKind::hang: begun.completion = never; return true;
    default: return true;
  }
}

Nanoseconds Kernel::latency(Op op) {
  const Nanoseconds usual = usual_latency(op);
  if (!scenario_.random_latency || usual == 0) return 0;
  return usual * stretch[decisions_.pick(DecisionKind::latency, static_cast<std::uint32_t>(stretch.size()))];
}

bool Kernel::pass_time(RankState& rank, const CallInfo& info, Nanoseconds until) {
  Fiber& self = *scheduler_.running();
  self.waits_for = &info;
  self.waits_since = now();
  if (until == never) {
    scheduler_.wait(never);
  } else {
    scheduler_.sleep_until(until);
  }
  self.waits_for = nullptr;
  hold(rank);
  return may_go_on(rank, info.op);
}

bool Kernel::wait(RankState& rank, const CallInfo& info, Nanoseconds until) {
  Fiber& self = *scheduler_.running();
  self.waits_for = &info;
  self.waits_since = now();
  const bool woken = scheduler_.wait(until);
  self.waits_for = nullptr;
  hold(rank);
  return may_go_on(rank, info.op) && woken;
}

void Kernel::end(RankState& rank, const CallInfo& info, const Begun& begun, ErrorCode code) {
  ++trace_.events;
  mix(static_cast<std::uint64_t>(info.op) | static_cast<std::uint64_t>(code) << 8 | static_cast<std::uint64_t>(begun.task) << 16 |
      static_cast<std::uint64_t>(static_cast<std::uint32_t>(rank.rank.value)) << 40);
  mix(info.bytes ^ info.number << 32 ^ static_cast<std::uint64_t>(info.peer) << 48);
  mix(static_cast<std::uint64_t>(now()));
  mix(info.object);
  mix(info.other);
  if (!scenario_.record_events) return;
  TraceEvent& event = trace_.record[begun.record];
  event.end_ns = now();
  event.result = code == ErrorCode{} ? "ok" : to_string(code);
}

void Kernel::mix(std::string_view text) {
  for (; text.size() >= 8; text.remove_prefix(8)) {
    std::uint64_t word;
    __builtin_memcpy(&word, text.data(), 8);
    mix(word);
  }
  std::uint64_t rest = text.size();
  for (const char c : text) rest = rest << 8 | static_cast<unsigned char>(c);
  mix(rest);
}

Error Kernel::timed_out(const CallInfo& info) const { return error(ErrorCode::timeout, "{}: the deadline passed", to_string(info)); }

Error Kernel::injected(const CallInfo& info, const Fault& fault) const {
  return error(fault.error, "{}: injected {}", to_string(info), to_string(fault.kind));
}

}  // namespace holdfast::sim
