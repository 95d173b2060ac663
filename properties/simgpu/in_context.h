// Whose CUDA calls are whose. Around every call that may suspend the fibre the context is left, for another rank runs meanwhile in its own.
#pragma once

#include <memory>

#include "impl/port/clock.h"
#include "impl/port/net.h"
#include "impl/port/tasks.h"
#include "sim/cuda/runtime.h"

namespace holdfast::properties {

/// While this lives, CUDA calls are the context's: its current device, its last error, what it knows to be complete. Null: nobody's.
class InContext {
 public:
  explicit InContext(sim::cuda::Context* context) : outer_(sim::cuda::switch_context(context)) {}
  ~InContext() { sim::cuda::switch_context(outer_); }
  InContext(const InContext&) = delete;
  InContext& operator=(const InContext&) = delete;

 private:
  sim::cuda::Context* outer_;
};

class ContextClock : public port::Clock {
 public:
  explicit ContextClock(port::Clock& clock) : clock_(clock) {}
  port::TimePoint now() override { return clock_.now(); }
  void sleep_until(port::TimePoint time) override {
    const InContext nobodys(nullptr);
    clock_.sleep_until(time);
  }

 private:
  port::Clock& clock_;
};

class ContextNet : public port::Net {
 public:
  explicit ContextNet(port::Net& net) : net_(net) {}
  Rank rank() const override { return net_.rank(); }
  int world_size() const override { return net_.world_size(); }
  std::size_t max_message_bytes() const override { return net_.max_message_bytes(); }
  Status send(Rank to, port::Tag tag, SharedBytes message, port::Deadline deadline) override {
    const InContext nobodys(nullptr);
    return net_.send(to, tag, std::move(message), deadline);
  }
  Result<SharedBytes> receive(Rank from, port::Tag tag, port::Deadline deadline) override {
    const InContext nobodys(nullptr);
    return net_.receive(from, tag, deadline);
  }

 private:
  port::Net& net_;
};

class ContextMonitor : public port::Monitor {
 public:
  explicit ContextMonitor(std::shared_ptr<port::Monitor> monitor) : monitor_(std::move(monitor)) {}
  void change(const std::function<void()>& body) override { monitor_->change(body); }
  Status wait(std::string_view what, const std::function<bool()>& condition, port::Deadline deadline) override {
    const InContext nobodys(nullptr);
    return monitor_->wait(what, condition, deadline);
  }

 private:
  std::shared_ptr<port::Monitor> monitor_;
};

/// Tasks run in the context, too.
class ContextTasks : public port::Tasks {
 public:
  ContextTasks(port::Tasks& tasks, sim::cuda::Context& context) : tasks_(tasks), context_(context) {}
  Result<port::TaskId> spawn(std::string_view name, std::function<void()> body) override {
    const InContext nobodys(nullptr);
    return tasks_.spawn(name, [context = &context_, body = std::move(body)] {
      const InContext in(context);
      body();
    });
  }
  Status join(port::TaskId task, port::Deadline deadline) override {
    const InContext nobodys(nullptr);
    return tasks_.join(task, deadline);
  }
  void detach(port::TaskId task) override { tasks_.detach(task); }
  std::shared_ptr<port::Monitor> make_monitor() override { return std::make_shared<ContextMonitor>(tasks_.make_monitor()); }

 private:
  port::Tasks& tasks_;
  sim::cuda::Context& context_;
};

}  // namespace holdfast::properties
