#include "sim/tasks.h"

#include <algorithm>

#include "impl/core/check.h"

namespace holdfast::sim {
namespace {

struct Spawn {
  Kernel& kernel;
  RankState& rank;
  std::function<void()> body;

  Result<port::TaskId> operator()(std::string_view, std::string_view) { return port::TaskId{kernel.spawn(rank, std::move(body)).task}; }
  /// Its number reaches nobody, so nobody can join it.
  void discard(port::TaskId task) { rank.fibers[static_cast<std::size_t>(task.value)]->given_up = true; }
};

/// Touches the simulation only while a fibre waits, so that it may outlive the run.
class Monitor final : public port::Monitor {
 public:
  Monitor(Kernel& kernel, RankState& rank) : kernel_(kernel), rank_(rank) {}

  void change(const std::function<void()>& body) override {
    tsan::acquire(this);
    body();
    tsan::release(this);
    const tsan::Inside inside;
    for (Fiber* waiting : waiting_) kernel_.scheduler().wake(*waiting);
  }

  Status wait(std::string_view what, const std::function<bool()>& condition, port::Deadline deadline) override {
    const CallInfo info{.op = Op::tasks_wait, .object = what};
    const auto effect = [&](std::string_view, std::string_view) -> Status {
      Fiber* const self = kernel_.scheduler().running();
      while (!condition()) {
        if (kernel_.now() >= nanoseconds(deadline.at)) return fail(kernel_.timed_out(info));
        waiting_.push_back(self);
        const Leave leave{waiting_, self};
        kernel_.wait(rank_, info, nanoseconds(deadline.at));
        if (rank_.dead) return fail(Kernel::void_error());
      }
      tsan::acquire(this);
      tsan::release(this);  // a condition may take what it waited for
      return {};
    };
    return kernel_.waiting_call(rank_, info, deadline, effect);
  }

 private:
  struct Leave {
    std::vector<Fiber*>& waiting;
    Fiber* self;
    ~Leave() { std::erase(waiting, self); }
  };

  Kernel& kernel_;
  RankState& rank_;
  std::vector<Fiber*> waiting_;
};

}  // namespace

std::shared_ptr<port::Monitor> Tasks::make_monitor() { return std::make_shared<Monitor>(kernel_, rank_); }

Fiber* Tasks::find(port::TaskId task) const {
  const bool known = task.value > 0 && static_cast<std::size_t>(task.value) < rank_.fibers.size();
  return known ? rank_.fibers[static_cast<std::size_t>(task.value)].get() : nullptr;
}

Result<port::TaskId> Tasks::spawn(std::string_view name, std::function<void()> body) {
  return kernel_.call(rank_, {.op = Op::tasks_spawn, .object = name}, {}, Spawn{kernel_, rank_, std::move(body)});
}

Status Tasks::join(port::TaskId task, port::Deadline deadline) {
  const CallInfo info{.op = Op::tasks_join, .number = static_cast<std::uint64_t>(task.value)};
  const auto effect = [&](std::string_view, std::string_view) -> Status {
    Fiber* const joined = find(task);
    Fiber* const self = kernel_.scheduler().running();
    CHECK(joined && joined != self && !joined->given_up, "rank {} joins task {}, which it cannot (any more)", rank_.rank, task.value);
    while (joined->state != Fiber::State::ended) {
      if (kernel_.now() >= nanoseconds(deadline.at)) return fail(kernel_.timed_out(info));
      joined->joiners.push_back(self);
      kernel_.wait(rank_, info, nanoseconds(deadline.at));
      if (rank_.dead) return fail(Kernel::void_error());
      std::erase(joined->joiners, self);
    }
    joined->given_up = true;
    tsan::acquire(joined);
    return {};
  };
  return kernel_.waiting_call(rank_, info, deadline, effect);
}

void Tasks::detach(port::TaskId task) {
  const tsan::Inside inside;
  if (Fiber* detached = find(task)) detached->given_up = true;
}

}  // namespace holdfast::sim
