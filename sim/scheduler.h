// Fibres, virtual time and the choice of who goes on. Knows nothing of doors, ranks' state or faults.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "impl/port/clock.h"
#include "sim/decisions.h"
#include "sim/engine.h"

namespace holdfast::sim {

class Scheduler;
struct CallInfo;

/// Virtual nanoseconds since the run began; `never` is beyond all of them.
using Nanoseconds = std::int64_t;
inline constexpr Nanoseconds never = std::numeric_limits<Nanoseconds>::max();
inline Nanoseconds nanoseconds(port::TimePoint time) { return time.time_since_epoch().count(); }

/// A task of a rank; task 0 is its main.
struct Fiber {
  enum class State : std::uint8_t { fresh, ready, running, waiting, ended };
  std::int32_t rank = 0;
  std::int32_t task = 0;
  State state = State::fresh;
  bool timed_out = false;  // how the last wait ended
  bool given_up = false;   // joined or detached
  std::uint32_t kills_thrown = 0;
  std::uint32_t wait = 0;           // numbers its waits: a timer of an earlier one is stale
  Engine::Fiber* handle = nullptr;  // from the first resume to the end
  const CallInfo* waits_for = nullptr;
  Nanoseconds waits_since = 0;
  std::function<void()> body;
  std::vector<Fiber*> joiners;
  Scheduler* scheduler = nullptr;
};

/// Told by the scheduler, on its own stack.
class SchedulerHost {
 public:
  virtual ~SchedulerHost() = default;
  virtual void fiber_ended(Fiber& fiber) = 0;
  /// No fibre can go on and no timer is left: must make an end of all of them with unwind().
  virtual void deadlocked() = 0;
  /// Asked before each step; true makes the host end the run with unwind().
  virtual void check_limits() = 0;
};

class Scheduler {
 public:
  Scheduler(Engine& engine, Decisions& decisions, SchedulerHost& host, bool in_turn)
      : engine_(engine), decisions_(decisions), host_(host), in_turn_(in_turn) {}

  Nanoseconds now() const { return now_; }
  Fiber* running() const { return running_; }  ///< null on the scheduler's own stack
  std::uint64_t switches() const { return switches_; }

  /// Makes a fresh fibre runnable. It must outlive the run.
  void start(Fiber& fiber);
  /// Runs until every started fibre ended.
  void run();

  // For the running fibre.
  /// Goes on at `until` at the earliest, after others that may run by then. False when it was woken to unwind.
  void sleep_until(Nanoseconds until);
  /// Waits for wake(), at most until `until`. True when woken.
  bool wait(Nanoseconds until);
  /// Stops until resumed to unwind.
  void stop();

  void wake(Fiber& fiber);  ///< does nothing unless it waits
  void at(Nanoseconds time, std::function<void()> action);
  /// Resumes these fibres next, in this order, each until it ends; a fresh one ends without running.
  void unwind(Fiber& fiber) { unwinding_.push_back(&fiber); }

 private:
  struct Timer {
    Nanoseconds time;
    std::uint64_t sequence;
    Fiber* fiber;         // null: actions_[index]
    std::uint64_t index;  // of the wait, or of the action
    bool operator<(const Timer& other) const { return time != other.time ? time > other.time : sequence > other.sequence; }
  };

  static void enter(void* fiber);
  void push(Nanoseconds time, Fiber* fiber, std::uint64_t index);
  Timer pop();
  bool is_stale(const Timer& timer) const {
    return timer.fiber && (timer.fiber->state != Fiber::State::waiting || timer.fiber->wait != timer.index);
  }
  void make_ready(Fiber& fiber, bool timed_out);
  bool advance();
  Fiber& choose();
  void resume(Fiber& fiber);
  void end(Fiber& fiber);
  void suspend(Fiber& self, Fiber::State state);

  Engine& engine_;
  Decisions& decisions_;
  SchedulerHost& host_;
  bool in_turn_;
  Nanoseconds now_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t switches_ = 0;
  std::size_t alive_ = 0;
  Fiber* running_ = nullptr;
  std::vector<Fiber*> ready_;  // from ready_head_ on
  std::size_t ready_head_ = 0;
  std::vector<Timer> timers_;  // a heap
  std::deque<std::function<void()>> actions_;
  std::deque<Fiber*> unwinding_;
};

}  // namespace holdfast::sim
