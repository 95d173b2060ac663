// Tasks over threads: one thread a task.
#pragma once

#include <memory>

#include "impl/port/tasks.h"

namespace holdfast::backend {

/// May be called from any thread; deadlines are SteadyClock's. One caller at a time joins a given task.
/// Its destructor waits for nothing: every task must be joined or detached by then (CHECK), and a detached task that still runs goes on
/// without it. A process that must not end under such a task calls close() first.
class ThreadTasks : public port::Tasks {
 public:
  ThreadTasks();
  ~ThreadTasks() override;
  ThreadTasks(const ThreadTasks&) = delete;
  ThreadTasks& operator=(const ThreadTasks&) = delete;

  Result<port::TaskId> spawn(std::string_view name, std::function<void()> body) override;
  Status join(port::TaskId task, port::Deadline deadline) override;
  void detach(port::TaskId task) override;
  std::shared_ptr<port::Monitor> make_monitor() override;

  /// Blocks until every detached task has ended. Errors: timeout, naming those that still run.
  Status close(port::Deadline deadline);
  /// Tasks that are neither joined nor, when detached, ended.
  std::size_t live_tasks() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the threads, which may outlive this object
};

}  // namespace holdfast::backend
