// The door to concurrency within a rank: tasks that run beside the caller, what they share, and futures of their results.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "impl/core/check.h"
#include "impl/core/error.h"
#include "impl/port/clock.h"

namespace holdfast::port {

struct TaskId {
  std::int64_t value = -1;
  auto operator<=>(const TaskId&) const = default;
};

/// Guards what tasks of one rank share, and lets them wait for a change of it. May outlive its Tasks.
class Monitor {
 public:
  virtual ~Monitor() = default;
  /// Runs `body` while no other body or condition of this monitor runs; then those that wait look again. Waits for nothing else; from any thread,
  /// destructors included. `body` calls no door and throws nothing.
  virtual void change(const std::function<void()>& body) = 0;
  /// Blocks until `condition`, run as a body is, gives true. Errors: timeout: at the deadline it was still false.
  virtual Status wait(std::string_view what, const std::function<bool()>& condition, Deadline deadline) = 0;
};

class Tasks {
 public:
  virtual ~Tasks() = default;
  /// Starts `body` as a task of this rank. Every task must be joined or detached. Errors: io_error when no task can be started.
  virtual Result<TaskId> spawn(std::string_view name, std::function<void()> body) = 0;
  /// Blocks until the task ended; what it wrote is then visible. Errors: timeout, the task goes on and can be joined again.
  virtual Status join(TaskId task, Deadline deadline) = 0;
  /// Gives the task up: it goes on and cleans up after itself. Its captures must own what they use.
  virtual void detach(TaskId task) = 0;
  /// For what tasks of this rank share.
  virtual std::shared_ptr<Monitor> make_monitor() = 0;
};

template <typename T>
class Promise;

/// A result to come: that of a task, or what a promise is given. `get` may be called once. A future that is dropped detaches its task.
template <typename T>
class Future {
 public:
  static Future ready(Result<T> value) {
    Future future;
    future.state_ = std::make_shared<std::optional<Result<T>>>(std::move(value));
    return future;
  }

  /// Runs `work` (a callable giving Result<T>) as a task.
  template <typename Work>
  static Result<Future> run(Tasks& tasks, std::string_view name, Work work) {
    Future future;
    future.state_ = std::make_shared<std::optional<Result<T>>>();
    future.task_ = TRY(tasks.spawn(name, [state = future.state_, work = std::move(work)]() mutable { state->emplace(work()); }));
    future.tasks_ = &tasks;  // only now is there a task to detach
    return future;
  }

  Future(Future&& other) noexcept
      : state_(std::move(other.state_)), tasks_(std::exchange(other.tasks_, nullptr)), task_(other.task_),
        monitor_(std::move(other.monitor_)) {}
  Future& operator=(Future&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(tasks_, other.tasks_);
    std::swap(task_, other.task_);
    std::swap(monitor_, other.monitor_);
    return *this;
  }
  ~Future() {
    if (tasks_) tasks_->detach(task_);
  }

  /// Whether the result is still to be read: no `get` has given it. Tells a `get` that came to its deadline from a result that is a timeout.
  bool pending() const { return state_ != nullptr; }
  /// Blocks until the result is there. Errors: timeout (then `get` may be called again), or the task's own.
  Result<T> get(Deadline deadline) {
    CHECK(state_, "a future is read once");
    if (tasks_) {
      TRY(tasks_->join(task_, deadline));
      tasks_ = nullptr;
    }
    if (monitor_) TRY(await_promise(deadline));
    CHECK(state_ && *state_, "a future is read once");
    Result<T> value = std::move(**state_);
    state_.reset();
    return value;
  }

 private:
  friend Promise<T>;
  Future() = default;
  Status await_promise(Deadline deadline) {
    bool there = false;
    monitor_->change([&] { there = state_->has_value(); });
    if (there) return {};
    return monitor_->wait("a promise", [&] { return state_->has_value(); }, deadline);
  }

  std::shared_ptr<std::optional<Result<T>>> state_;
  Tasks* tasks_ = nullptr;
  TaskId task_;
  std::shared_ptr<Monitor> monitor_;  ///< of a promise
};

/// The giving end of a future, for a task that has more than one thing to say. A promise that is dropped without a word says `aborted`.
template <typename T>
class Promise {
 public:
  explicit Promise(std::shared_ptr<Monitor> monitor) : monitor_(std::move(monitor)), state_(std::make_shared<std::optional<Result<T>>>()) {}
  Promise(Promise&&) noexcept = default;
  Promise& operator=(Promise&&) = delete;
  ~Promise() {
    if (!state_) return;
    monitor_->change([&] {
      if (!*state_) state_->emplace(fail(ErrorCode::aborted, "the task ended before it came to this"));
    });
  }

  /// Call once.
  Future<T> future() {
    Future<T> future;
    future.state_ = state_;
    future.monitor_ = monitor_;
    return future;
  }
  /// The first word counts.
  void set(Result<T> value) {
    monitor_->change([&] {
      if (!*state_) state_->emplace(std::move(value));
    });
  }

 private:
  std::shared_ptr<Monitor> monitor_;
  std::shared_ptr<std::optional<Result<T>>> state_;
};

/// Runs `work` (a callable giving Result<T>) as a task that is detached at once: whoever waits for its word may be another task, or nobody.
template <typename T, typename Work>
Result<Future<T>> run_detached(Tasks& tasks, std::string_view name, const std::shared_ptr<Monitor>& monitor, Work work) {
  const auto promise = std::make_shared<Promise<T>>(monitor);
  Future<T> future = promise->future();
  tasks.detach(TRY(tasks.spawn(name, [promise, work = std::move(work)]() mutable { promise->set(work()); })));
  return future;
}

}  // namespace holdfast::port
