#include "impl/backend/posix/workers.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "impl/core/check.h"

namespace holdfast::backend {

struct Workers::Pool {
  struct Worker {
    std::thread thread;
    bool busy = false;  // in a call
  };

  std::mutex mutex;
  std::condition_variable queued;  // a job was queued, or the pool stops
  std::deque<std::shared_ptr<Job>> queue;
  std::list<Worker> workers;
  WorkerLimits limits;
  int abandoned = 0;
  bool stopping = false;

  static Status add_worker(const std::shared_ptr<Pool>& pool);
  void serve(Worker& self);
  bool run_one(Worker& self, std::unique_lock<std::mutex>& lock);
};

/// Requires: the caller holds the mutex.
Status Workers::Pool::add_worker(const std::shared_ptr<Pool>& pool) {
  Worker& worker = pool->workers.emplace_back();
  try {
    worker.thread = std::thread([pool, &worker] { pool->serve(worker); });
  } catch (const std::system_error& refused) {
    pool->workers.pop_back();
    return fail(ErrorCode::io_error, "start an I/O worker: {}", refused.code().message());
  }
  return {};
}

void Workers::Pool::serve(Worker& self) {
  std::unique_lock lock(mutex);
  while (true) {
    queued.wait(lock, [&] { return stopping || !queue.empty(); });
    if (stopping) return;
    if (!run_one(self, lock)) break;
  }
  // This worker was replaced while its call hung.
  self.thread.detach();
  workers.remove_if([&](const Worker& worker) { return &worker == &self; });
}

/// Runs the next job; false when this worker is then one too many.
bool Workers::Pool::run_one(Worker& self, std::unique_lock<std::mutex>& lock) {
  std::shared_ptr<Job> job = std::move(queue.front());
  queue.pop_front();
  job->stage = Stage::running;
  self.busy = true;
  lock.unlock();
  job->work();
  job->work = nullptr;  // gives back what the call owned before anybody is told that it ended
  lock.lock();
  if (job->stage == Stage::running) {
    job->stage = Stage::done;
    self.busy = false;
    lock.unlock();  // whoever wakes needs the lock: do not make him wait a second time
    job->ended.notify_one();
    lock.lock();
    return true;
  }
  lock.unlock();
  job.reset();  // the result is nobody's; to drop it may block as well
  lock.lock();
  self.busy = false;
  --abandoned;
  return stopping || static_cast<int>(workers.size()) <= limits.workers + abandoned;
}

Result<std::unique_ptr<Workers>> Workers::start(WorkerLimits limits) {
  CHECK(limits.workers > 0 && limits.workers_max >= limits.workers, "{} workers, at most {}", limits.workers, limits.workers_max);
  const auto pool = std::make_shared<Pool>();
  pool->limits = limits;
  std::unique_ptr<Workers> workers(new Workers(pool));
  const std::scoped_lock lock(pool->mutex);
  for (int i = 0; i < limits.workers; ++i) TRY(Pool::add_worker(pool));
  return workers;
}

Workers::~Workers() {
  std::vector<std::thread> idle;
  {
    const std::scoped_lock lock(pool_->mutex);
    pool_->stopping = true;
    pool_->queued.notify_all();
    for (Pool::Worker& worker : pool_->workers) {
      if (worker.busy) {
        worker.thread.detach();
      } else {
        idle.push_back(std::move(worker.thread));
      }
    }
  }
  for (std::thread& thread : idle) thread.join();
}

bool Workers::run(const std::shared_ptr<Job>& job, port::Deadline deadline, bool* dropped) {
  {
    const std::scoped_lock lock(pool_->mutex);
    pool_->queue.push_back(job);
  }
  pool_->queued.notify_one();
  std::unique_lock lock(pool_->mutex);
  const std::chrono::steady_clock::time_point until(deadline.at.time_since_epoch());
  if (job->ended.wait_until(lock, until, [&] { return job->stage == Stage::done; })) return true;
  const bool never_ran = job->stage == Stage::queued;
  if (dropped) *dropped = never_ran;
  if (never_ran) {
    std::erase(pool_->queue, job);
    return false;
  }
  job->stage = Stage::abandoned;
  ++pool_->abandoned;
  const auto wanted = std::min(pool_->limits.workers + pool_->abandoned, pool_->limits.workers_max);
  // Without a replacement the others go on alone: a machine that is out of threads has worse troubles than a slow pool.
  if (static_cast<int>(pool_->workers.size()) < wanted) static_cast<void>(Pool::add_worker(pool_));
  return false;
}

int Workers::abandoned() const {
  const std::scoped_lock lock(pool_->mutex);
  return pool_->abandoned;
}

}  // namespace holdfast::backend
