// The door to concurrency within a rank: tasks that run beside the caller, and futures of their results.
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

class Tasks {
 public:
  virtual ~Tasks() = default;
  /// Starts `body` as a task of this rank. Every task must be joined or detached. Errors: io_error when no task can be started.
  virtual Result<TaskId> spawn(std::string_view name, std::function<void()> body) = 0;
  /// Blocks until the task ended; what it wrote is then visible. Errors: timeout, the task goes on and can be joined again.
  virtual Status join(TaskId task, Deadline deadline) = 0;
  /// Gives the task up: it goes on and cleans up after itself. Its captures must own what they use.
  virtual void detach(TaskId task) = 0;
};

/// The result of a task. `get` may be called once. A future that is dropped detaches its task.
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

  Future(Future&& other) noexcept : state_(std::move(other.state_)), tasks_(std::exchange(other.tasks_, nullptr)), task_(other.task_) {}
  Future& operator=(Future&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(tasks_, other.tasks_);
    std::swap(task_, other.task_);
    return *this;
  }
  ~Future() {
    if (tasks_) tasks_->detach(task_);
  }

  /// Blocks until the result is there. Errors: timeout (then `get` may be called again), or the task's own.
  Result<T> get(Deadline deadline) {
    if (tasks_) {
      TRY(tasks_->join(task_, deadline));
      tasks_ = nullptr;
    }
    CHECK(state_ && *state_, "a future is read once");
    Result<T> value = std::move(**state_);
    state_.reset();
    return value;
  }

 private:
  Future() = default;
  std::shared_ptr<std::optional<Result<T>>> state_;
  Tasks* tasks_ = nullptr;
  TaskId task_;
};

}  // namespace holdfast::port
