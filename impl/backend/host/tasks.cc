#include "impl/backend/host/tasks.h"

#include <pthread.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace holdfast::backend {
namespace {

struct Task {
  std::string name;
  std::thread thread;
  bool ended = false;
  bool detached = false;
};

void name_this_thread(std::string_view name) {
  constexpr std::size_t longest = 15;  // the kernel's limit
  pthread_setname_np(pthread_self(), std::string(name.substr(0, longest)).c_str());
}

std::chrono::steady_clock::time_point steady(port::Deadline deadline) {
  return std::chrono::steady_clock::time_point(deadline.at.time_since_epoch());
}

class LockMonitor final : public port::Monitor {
 public:
  void change(const std::function<void()>& body) override {
    {
      const std::scoped_lock lock(mutex_);
      body();
    }
    changed_.notify_all();
  }
  Status wait(std::string_view what, const std::function<bool()>& condition, port::Deadline deadline) override {
    std::unique_lock lock(mutex_);
    if (changed_.wait_until(lock, steady(deadline), condition)) return {};
    return fail(ErrorCode::timeout, "wait for {}: it did not come by the deadline", what);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace

std::shared_ptr<port::Monitor> ThreadTasks::make_monitor() { return std::make_shared<LockMonitor>(); }

struct ThreadTasks::State {
  std::mutex mutex;
  std::condition_variable changed;  // some task ended
  std::map<port::TaskId, Task> tasks;
  std::int64_t next = 0;

  Task& find(port::TaskId id) {
    const auto found = tasks.find(id);
    CHECK(found != tasks.end() && !found->second.detached, "task {} was joined, detached or never spawned", id.value);
    return found->second;
  }

  void ended(port::TaskId id) {
    const std::scoped_lock lock(mutex);
    const auto found = tasks.find(id);
    if (found->second.detached) {
      tasks.erase(found);
    } else {
      found->second.ended = true;
    }
    changed.notify_all();
  }
};

ThreadTasks::ThreadTasks() : state_(std::make_shared<State>()) {}

ThreadTasks::~ThreadTasks() {
  const std::scoped_lock lock(state_->mutex);
  for (const auto& [id, task] : state_->tasks) CHECK(task.detached, "task \"{}\" was neither joined nor detached", task.name);
}

Result<port::TaskId> ThreadTasks::spawn(std::string_view name, std::function<void()> body) {
  const std::scoped_lock lock(state_->mutex);
  const port::TaskId id{state_->next++};
  Task& task = state_->tasks[id];
  task.name = name;
  try {
    // The thread cannot report its end before this lock is released, so it always finds its entry complete.
    task.thread = std::thread([state = state_, id, label = task.name, body = std::move(body)]() mutable {
      name_this_thread(label);
      body();
      body = nullptr;  // what the task owned is gone once a join returns
      state->ended(id);
    });
  } catch (const std::system_error& refused) {
    state_->tasks.erase(id);
    return fail(ErrorCode::io_error, "start a thread for task \"{}\": {}", name, refused.code().message());
  }
  return id;
}

Status ThreadTasks::join(port::TaskId id, port::Deadline deadline) {
  std::thread thread;
  {
    std::unique_lock lock(state_->mutex);
    Task& task = state_->find(id);
    if (!state_->changed.wait_until(lock, steady(deadline), [&] { return task.ended; })) {
      return fail(ErrorCode::timeout, "join task \"{}\": it still runs at the deadline", task.name);
    }
    thread = std::move(task.thread);
    state_->tasks.erase(id);
  }
  thread.join();
  return {};
}

void ThreadTasks::detach(port::TaskId id) {
  const std::scoped_lock lock(state_->mutex);
  Task& task = state_->find(id);
  task.thread.detach();
  task.detached = true;
  if (task.ended) state_->tasks.erase(id);
}

Status ThreadTasks::close(port::Deadline deadline) {
  const auto running = [&] {
    std::vector<std::string> names;
    for (const auto& [id, task] : state_->tasks) {
      if (task.detached) names.push_back(fmt::format("\"{}\"", task.name));
    }
    return names;
  };
  std::unique_lock lock(state_->mutex);
  if (state_->changed.wait_until(lock, steady(deadline), [&] { return running().empty(); })) return {};
  return fail(ErrorCode::timeout, "wait for detached tasks: still running at the deadline: {}", fmt::join(running(), ", "));
}

std::size_t ThreadTasks::live_tasks() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->tasks.size();
}

}  // namespace holdfast::backend
