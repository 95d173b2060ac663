#include "sim/engine_thread.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "impl/core/check.h"

namespace holdfast::sim {
namespace {

// Only what a body touches becomes memory. More than a fibre has, for the code that needs it.
constexpr std::size_t stack_bytes = 1 << 20;

/// Whoever takes it runs; to give it makes one other thread go on. (POSIX's: libstdc++ 12's own semaphore can sleep for ever.)
class Baton {
 public:
  Baton() { CHECK(sem_init(&semaphore_, 0, 0) == 0, "make a semaphore: {}", std::strerror(errno)); }
  ~Baton() { sem_destroy(&semaphore_); }
  Baton(const Baton&) = delete;
  Baton& operator=(const Baton&) = delete;
  void give() { CHECK(sem_post(&semaphore_) == 0, "give the baton: {}", std::strerror(errno)); }
  void take() {
    while (sem_wait(&semaphore_) != 0) CHECK(errno == EINTR, "take the baton: {}", std::strerror(errno));
  }

 private:
  sem_t semaphore_;
};

class ThreadEngine final : public Engine {
 public:
  ~ThreadEngine() override {
    CHECK(idle_.size() == threads_, "a run ended with {} of {} bodies suspended", threads_ - idle_.size(), threads_);
    for (Worker* worker : idle_) {
      worker->quits = true;
      worker->turn.give();
      pthread_join(worker->thread, nullptr);
      delete worker;
    }
  }

 private:
  struct Worker : Fiber {
    ThreadEngine* engine = nullptr;
    pthread_t thread{};
    Baton turn;
    bool quits = false;
  };
  static Worker& worker(Fiber& fiber) { return static_cast<Worker&>(fiber); }

  Fiber* take() override {
    if (idle_.empty()) start_worker();
    Worker* const taken = idle_.back();
    idle_.pop_back();
    return taken;
  }

  void switch_to(Fiber& fiber) override {
    worker(fiber).turn.give();
    turn_.take();
  }

  void switch_back(Fiber& fiber) override {
    CHECK(pthread_equal(pthread_self(), worker(fiber).thread), "suspend from a thread that is not the running body's");
    turn_.give();
    worker(fiber).turn.take();
  }

  void give_back(Fiber& fiber) override { idle_.push_back(&worker(fiber)); }

  void start_worker() {
    auto started = std::make_unique<Worker>();
    started->engine = this;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    const int failed = pthread_create(&started->thread, &attributes, &ThreadEngine::serve, started.get());
    pthread_attr_destroy(&attributes);
    CHECK(failed == 0, "start thread {} of a simulation: {}; the fiber engine needs none", threads_, std::strerror(failed));
    ++threads_;
    idle_.push_back(started.release());
  }

  static void* serve(void* argument) {
    Worker& self = *static_cast<Worker*>(argument);
    for (;;) {
      self.turn.take();
      if (self.quits) return nullptr;
      run(self);
      self.engine->turn_.give();
    }
  }

  std::size_t threads_ = 0;
  std::vector<Worker*> idle_;
  Baton turn_;  // of the caller of resume
};

}  // namespace

std::unique_ptr<Engine> make_thread_engine() { return std::make_unique<ThreadEngine>(); }

void stay_on_one_processor() {
  const int processor = sched_getcpu();
  if (processor < 0 || processor >= CPU_SETSIZE) return;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<unsigned>(processor), &only);
  sched_setaffinity(0, sizeof(only), &only);
}

}  // namespace holdfast::sim
