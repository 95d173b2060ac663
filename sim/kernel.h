// What every simulated door stands on: one door call is a site, may meet a fault, takes its time, has its effect, and is counted, hashed
// and recorded.
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "sim/scenario.h"
#include "sim/scheduler.h"
#include "sim/tsan.h"

namespace holdfast::sim {

/// Unwinds the tasks of a killed rank. Not a std::exception, so that no ordinary handler takes it.
struct Killed {};

/// What a call is about. Views live as long as the call.
struct CallInfo {
  Op op;
  std::string_view object{};  ///< path or name
  std::string_view other{};   ///< second path
  std::int32_t peer = -1;     ///< rank, or -1
  std::uint64_t bytes = 0;
  std::uint64_t number = 0;  ///< tag, sequence
};
std::string to_string(const CallInfo& info);  ///< "net.receive rank 3 #7"

struct RankState {
  Rank rank;
  bool dead = false;           ///< its doors are void
  bool ended = false;          ///< no fibre of it is left
  bool stopped = false;        ///< its fibres hold still (Scenario::stops)
  std::vector<Fiber*> held{};  ///< those that would run
  std::uint32_t calls = 0;
  std::size_t fault = 0;  ///< index of the next fault of Kernel::faults_ that may be its
  int alive = 0;          ///< fibres not ended
  RankEnd end;
  std::string step;  ///< only when recording
  Traffic traffic;
  Leak leak;
  std::vector<std::unique_ptr<Fiber>> fibers;  ///< by task number
};

class Kernel : public SchedulerHost {
 public:
  /// Told when the last fibre of a rank ended, or when it is killed (then its fibres are still to be unwound).
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void rank_gone(RankState& rank) = 0;
  };

  Kernel(const Scenario& scenario, Engine& engine, Decisions& decisions, Trace& trace);
  void add_listener(Listener& listener) { listeners_.push_back(&listener); }

  RankState& rank(Rank rank) { return ranks_[static_cast<std::size_t>(rank.value)]; }
  std::vector<RankState>& ranks() { return ranks_; }
  Scheduler& scheduler() { return scheduler_; }
  Decisions& decisions() { return decisions_; }
  Trace& trace() { return trace_; }
  const Scenario& scenario() const { return scenario_; }
  Nanoseconds now() const { return scheduler_.now(); }

  /// Adds a fibre to the rank; its number is the task's.
  Fiber& spawn(RankState& rank, std::function<void()> body);

  /// One door call with an instant effect, `effect(object, other)`, giving a Result or Status. Past the deadline the effect still comes, on
  /// its own: it must own what it uses, but for the two texts. An effect may also have
  ///   discard(value): its value reaches nobody; refused(): an error was injected before it; flip(bit): a bit of its bytes is flipped.
  template <typename Effect>
  auto call(RankState& rank, const CallInfo& info, std::optional<port::Deadline> deadline, Effect effect) {
    return make_call(rank, info, deadline, effect, true);
  }
  /// The same for an effect that waits by itself, as far as the deadline. It is not abandoned: late, it does not come at all.
  template <typename Effect>
  auto waiting_call(RankState& rank, const CallInfo& info, port::Deadline deadline, Effect effect) {
    return make_call(rank, info, deadline, effect, false);
  }

  /// Inside a waiting effect: waits for a wake, at most until `until`. True when woken. Throws Killed; where it cannot, the
  /// rank is dead after it.
  bool wait(RankState& rank, const CallInfo& info, Nanoseconds until);
  Error timed_out(const CallInfo& info) const;
  static Error void_error() { return {ErrorCode::aborted, "the rank was killed"}; }

  void fiber_ended(Fiber& fiber) override;
  void deadlocked() override;
  void check_limits() override;

 private:
  struct Begun {
    std::int32_t task = 0;
    Nanoseconds begin = 0;
    Nanoseconds completion = 0;  ///< when the effect comes
    std::size_t record = 0;      ///< index into trace_.record
    const Fault* fault = nullptr;
  };
  struct PendingStop {
    Stop stop;
    bool began = false;
  };
  template <typename Effect>
  std::invoke_result_t<Effect&, std::string_view, std::string_view> make_call(RankState& rank, const CallInfo& info,
                                                                              std::optional<port::Deadline> deadline, Effect& effect,
                                                                              bool goes_on);
  /// False when the call is void. Throws Killed.
  bool begin(RankState& rank, const CallInfo& info, Begun& begun);
  bool pass_time(RankState& rank, const CallInfo& info, Nanoseconds until);
  bool may_go_on(RankState& rank, Op op);
  void meet_stops(const Site& site);
  void hold(RankState& rank);
  void go_on(RankState& rank);
  void end(RankState& rank, const CallInfo& info, const Begun& begun, ErrorCode code);
  Error injected(const CallInfo& info, const Fault& fault) const;
  const Fault* fault_at(RankState& rank, const CallInfo& info, std::uint32_t ordinal);
  Nanoseconds latency(Op op);
  void run_body(RankState& rank, Fiber& fiber, const std::function<void()>& body);
  void kill(RankState& rank, RankEnd::How how, std::string_view what);
  void kill_all(RankEnd::How how, std::string_view what);
  void mix(std::uint64_t value) { hash_ = (((hash_ << 5) | (hash_ >> 59)) ^ value) * 0x9e3779b97f4a7c15u; }
  void mix(std::string_view text);

  const Scenario& scenario_;
  Decisions& decisions_;
  Trace& trace_;
  Scheduler scheduler_;
  std::vector<Fault> faults_;  // by site
  std::vector<PendingStop> stops_;
  std::vector<RankState> ranks_;
  std::vector<Listener*> listeners_;
  std::uint64_t& hash_;
  bool stopping_ = false;
};

}  // namespace holdfast::sim

#include "sim/kernel_call.h"  // the template, which needs the class
