#include "sim/scheduler.h"

#include <algorithm>
#include <utility>

#include "impl/core/check.h"
#include "sim/tsan.h"

namespace holdfast::sim {

void Scheduler::start(Fiber& fiber) {
  fiber.scheduler = this;
  fiber.state = Fiber::State::ready;
  ready_.push_back(&fiber);
  ++alive_;
  tsan::release(&fiber);
}

void Scheduler::run() {
  while (alive_ != 0) {
    host_.check_limits();
    if (!unwinding_.empty()) {
      Fiber& fiber = *unwinding_.front();
      unwinding_.pop_front();
      if (fiber.state == Fiber::State::ended) continue;
      if (fiber.handle) {
        resume(fiber);
        CHECK(fiber.state == Fiber::State::ended, "task {} of rank {} suspended while it was unwound", fiber.task, fiber.rank);
      } else {
        fiber.body = nullptr;
        end(fiber);
      }
      continue;
    }
    if (ready_head_ == ready_.size() && !advance()) {
      host_.deadlocked();
      continue;
    }
    Fiber& fiber = choose();
    if (fiber.state == Fiber::State::ready) resume(fiber);
  }
}

/// Moves to the next instant at which something happens and makes its fibres ready. False when there is none.
bool Scheduler::advance() {
  ready_.clear();
  ready_head_ = 0;
  while (ready_.empty()) {
    while (!timers_.empty() && is_stale(timers_.front())) pop();
    if (timers_.empty()) return false;
    now_ = std::max(now_, timers_.front().time);
    while (!timers_.empty() && timers_.front().time <= now_) {
      const Timer timer = pop();
      if (timer.fiber) {
        if (!is_stale(timer)) make_ready(*timer.fiber, true);
      } else {
        const std::function<void()> action = std::exchange(actions_[timer.index], nullptr);
        action();
      }
    }
  }
  return true;
}

Fiber& Scheduler::choose() {
  if (!in_turn_) {
    const auto n = static_cast<std::uint32_t>(ready_.size() - ready_head_);
    std::swap(ready_[ready_head_], ready_[ready_head_ + decisions_.pick(DecisionKind::schedule, n)]);
  }
  Fiber& chosen = *ready_[ready_head_++];
  if (ready_head_ == ready_.size() || ready_head_ == 4096) {
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(ready_head_));
    ready_head_ = 0;
  }
  return chosen;
}

void Scheduler::resume(Fiber& fiber) {
  if (!fiber.handle) fiber.handle = engine_.create(&Scheduler::enter, &fiber);
  fiber.state = Fiber::State::running;
  running_ = &fiber;
  ++switches_;
  engine_.resume(fiber.handle);
  running_ = nullptr;
  if (fiber.state == Fiber::State::ended) {
    engine_.recycle(std::exchange(fiber.handle, nullptr));
    end(fiber);
  }
}

void Scheduler::end(Fiber& fiber) {
  fiber.state = Fiber::State::ended;
  --alive_;
  for (Fiber* joiner : fiber.joiners) wake(*joiner);
  host_.fiber_ended(fiber);
}

void Scheduler::enter(void* argument) {
  auto* fiber = static_cast<Fiber*>(argument);
  tsan::acquire(fiber);
  fiber->body();
  const tsan::Inside inside;
  fiber->body = nullptr;  // its captures may call doors: they go while the fibre still runs
  fiber->state = Fiber::State::ended;
  tsan::release(fiber);
  tsan::release(fiber->scheduler);
}

void Scheduler::suspend(Fiber& self, Fiber::State state) {
  self.state = state;
  engine_.suspend();
}

void Scheduler::sleep_until(Nanoseconds until) {
  Fiber& self = *running_;
  const bool is_alone = ready_head_ == ready_.size() && unwinding_.empty() && (timers_.empty() || timers_.front().time > until);
  if (is_alone && until != never) {  // the scheduler could choose no other
    now_ = std::max(now_, until);
    host_.check_limits();
    if (unwinding_.empty()) return;
  }
  if (until <= now_) {
    ready_.push_back(&self);
    return suspend(self, Fiber::State::ready);
  }
  wait(until);
}

bool Scheduler::wait(Nanoseconds until) {
  Fiber& self = *running_;
  ++self.wait;
  if (until != never) push(until, &self, self.wait);
  suspend(self, Fiber::State::waiting);
  return !self.timed_out;
}

void Scheduler::stop() {
  ++running_->wait;
  suspend(*running_, Fiber::State::waiting);
}

void Scheduler::wake(Fiber& fiber) {
  if (fiber.state == Fiber::State::waiting) make_ready(fiber, false);
}

void Scheduler::make_ready(Fiber& fiber, bool timed_out) {
  fiber.state = Fiber::State::ready;
  fiber.timed_out = timed_out;
  ready_.push_back(&fiber);
}

void Scheduler::at(Nanoseconds time, std::function<void()> action) {
  actions_.push_back(std::move(action));
  push(time, nullptr, actions_.size() - 1);
}

void Scheduler::push(Nanoseconds time, Fiber* fiber, std::uint64_t index) {
  timers_.push_back({time, ++sequence_, fiber, index});
  std::push_heap(timers_.begin(), timers_.end());
}

Scheduler::Timer Scheduler::pop() {
  std::pop_heap(timers_.begin(), timers_.end());
  const Timer timer = timers_.back();
  timers_.pop_back();
  return timer;
}

}  // namespace holdfast::sim
