// A small pool of threads that run blocking calls, so that the callers can stop waiting at a deadline.
//
//   queued --taken--> running --ended--> done          the caller gets the result
//     |                  | deadline
//     | deadline         v
//     v              abandoned: runs to its end, keeps what it owns until then; another thread takes its place in the pool
//   dropped: never runs
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "impl/core/error.h"
#include "impl/port/clock.h"

namespace holdfast::backend {

struct WorkerLimits {
  int workers = 4;       ///< calls that run at the same time
  int workers_max = 64;  ///< the same, with those that hang abandoned
};

class Workers {
 public:
  /// Errors: io_error when no thread can be started.
  static Result<std::unique_ptr<Workers>> start(WorkerLimits limits);
  /// Waits for nothing that hangs: threads in abandoned calls are left behind and end with them. No call may be under way.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Runs work(), giving Result<T>, on a worker; returns what it gave, or none at the deadline. `work` must own what it uses;
  /// what it owns is released before the result is returned, or, abandoned, when it ends. `dropped` (may be null) says that it never ran.
  template <typename T, typename Work>
  std::optional<Result<T>> call(port::Deadline deadline, Work work, bool* dropped);

  /// Abandoned calls that still run.
  int abandoned() const;

 private:
  enum class Stage : std::uint8_t { queued, running, done, abandoned };
  struct Job {
    std::function<void()> work;
    std::condition_variable ended;
    Stage stage = Stage::queued;
  };
  struct Pool;

  explicit Workers(std::shared_ptr<Pool> pool) : pool_(std::move(pool)) {}
  /// False when the job did not end by the deadline.
  bool run(const std::shared_ptr<Job>& job, port::Deadline deadline, bool* dropped);

  std::shared_ptr<Pool> pool_;  // shared with the threads
};

template <typename T, typename Work>
std::optional<Result<T>> Workers::call(port::Deadline deadline, Work work, bool* dropped) {
  struct Call : Job {
    std::optional<Result<T>> result;
  };
  const auto job = std::make_shared<Call>();
  job->work = [call = job.get(), work = std::move(work)]() mutable { call->result.emplace(work()); };
  if (!run(job, deadline, dropped)) return std::nullopt;
  return std::move(job->result);
}

}  // namespace holdfast::backend
