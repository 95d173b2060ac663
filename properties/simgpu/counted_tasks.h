// The tasks of a rank, counted: whoever closes its doors waits until none is left that uses them.
#pragma once

#include <memory>

#include "impl/port/tasks.h"

namespace holdfast::properties {

class CountedTasks : public port::Tasks {
 public:
  explicit CountedTasks(port::Tasks& tasks) : tasks_(tasks), left_(std::make_shared<Left>(tasks.make_monitor())) {}
  Result<port::TaskId> spawn(std::string_view name, std::function<void()> body) override {
    left_->monitor->change([&] { ++left_->running; });
    std::shared_ptr<void> counted(nullptr, [left = left_](void*) { left->monitor->change([&] { --left->running; }); });
    return tasks_.spawn(name, [body = std::move(body), counted = std::move(counted)]() mutable {
      const std::shared_ptr<void> until_its_end = std::move(counted);
      body();
    });
  }
  Status join(port::TaskId task, port::Deadline deadline) override { return tasks_.join(task, deadline); }
  void detach(port::TaskId task) override { tasks_.detach(task); }
  std::shared_ptr<port::Monitor> make_monitor() override { return tasks_.make_monitor(); }

  /// Blocks until every task has ended, those that were given up included. Errors: timeout.
  Status await_all(port::Deadline deadline) {
    bool none = false;
    const auto look = [&] { return none = left_->running == 0; };
    left_->monitor->change(look);
    return none ? Status() : left_->monitor->wait("tasks that were left behind", look, deadline);
  }

 private:
  struct Left {
    explicit Left(std::shared_ptr<port::Monitor> the_monitor) : monitor(std::move(the_monitor)) {}
    std::shared_ptr<port::Monitor> monitor;
    int running = 0;
  };

  port::Tasks& tasks_;
  std::shared_ptr<Left> left_;
};

}  // namespace holdfast::properties
