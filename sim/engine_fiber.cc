#include "sim/engine_fiber.h"

#include <cxxabi.h>
#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstdint>
#include <cstring>
#include <vector>

#include "impl/core/check.h"
#include "impl/core/mutate.h"
#include "sim/tsan.h"

#if defined(__SANITIZE_ADDRESS__)
#define HOLDFAST_SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOLDFAST_SIM_ASAN 1
#endif
#endif
#ifdef HOLDFAST_SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef HOLDFAST_SIM_TSAN
#include <sanitizer/tsan_interface.h>
#include <sys/single_threaded.h>
#endif

namespace holdfast::sim {

namespace context = boost::context::detail;

namespace {

constexpr std::size_t stack_bytes = 256 << 10;
constexpr std::size_t guard_bytes = 4096;
// Each guard costs the kernel a mapping, and a process may have about 65,000. Later stacks lie side by side and carry a canary instead.
constexpr std::size_t guarded_stacks_max = 8192;
constexpr std::uint64_t canary = 0x5afe57ac6b0771e5u;

/// The two words of the C++ runtime's per-thread exception state. Without carrying them over, "catch, suspend, throw;" rethrows
/// another fibre's exception.
struct ExceptionState {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

HOLDFAST_SIM_NO_TSAN inline void swap_exception_state(ExceptionState& save, const ExceptionState& load) {
  if (MUTATE("engine_fiber.shares_exceptions", false, true)) return;
  auto* globals = reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
  save = *globals;
  *globals = load;
}

class FiberEngine final : public Engine {
 public:
#ifdef HOLDFAST_SIM_TSAN
  /// To ThreadSanitizer the fibres are threads, so the reference counts of shared_ptr must be atomic, as they are beside real threads.
  FiberEngine() { __libc_single_threaded = 0; }
#endif
  ~FiberEngine() override {
    for (Stack* stack : idle_) unmap(stack);
  }

 private:
  struct Stack : Fiber {
    context::fcontext_t context = nullptr;
    char* base = nullptr;  // lowest usable byte
    bool guarded = false;
    ExceptionState exceptions;
    void* fake_stack = nullptr;  // AddressSanitizer's
    void* tsan = nullptr;
  };
  static Stack* stack_of(Fiber& fiber) { return static_cast<Stack*>(&fiber); }

  Fiber* take() override {
    if (idle_.empty()) map_stack();
    Stack* fiber = idle_.back();
    idle_.pop_back();
    fiber->exceptions = {};
    fiber->fake_stack = nullptr;
    fiber->context = context::make_fcontext(fiber->base + stack_bytes, stack_bytes, &FiberEngine::entry);
#ifdef HOLDFAST_SIM_TSAN
    fiber->tsan = __tsan_create_fiber(0);
#endif
    return fiber;
  }

  HOLDFAST_SIM_NO_TSAN __attribute__((noinline)) void switch_to(Fiber& resumed) override {
    Stack* fiber = stack_of(resumed);
    swap_exception_state(exceptions_, fiber->exceptions);
#ifdef HOLDFAST_SIM_ASAN
    __sanitizer_start_switch_fiber(&fake_stack_, fiber->base, stack_bytes);
#endif
#ifdef HOLDFAST_SIM_TSAN
    tsan_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber->tsan, __tsan_switch_to_fiber_no_sync);
#endif
    const context::transfer_t back = context::jump_fcontext(fiber->context, this);
#ifdef HOLDFAST_SIM_ASAN
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
    fiber->context = back.fctx;
  }

  HOLDFAST_SIM_NO_TSAN __attribute__((noinline)) void switch_back(Fiber& suspended) override {
    Stack* self = stack_of(suspended);
    swap_exception_state(self->exceptions, exceptions_);
#ifdef HOLDFAST_SIM_ASAN
    __sanitizer_start_switch_fiber(&self->fake_stack, scheduler_stack_, scheduler_stack_bytes_);
#endif
#ifdef HOLDFAST_SIM_TSAN
    __tsan_switch_to_fiber(tsan_, __tsan_switch_to_fiber_no_sync);
#endif
    const context::transfer_t back = context::jump_fcontext(scheduler_, nullptr);
#ifdef HOLDFAST_SIM_ASAN
    __sanitizer_finish_switch_fiber(self->fake_stack, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
    scheduler_ = back.fctx;
  }

  void give_back(Fiber& ended) override {
    Stack* fiber = stack_of(ended);
    if (!fiber->guarded) {
      std::uint64_t found;
      std::memcpy(&found, fiber->base, sizeof(found));
      CHECK(found == canary, "a simulated rank or task overflowed its {} KiB stack", stack_bytes >> 10);
    }
#ifdef HOLDFAST_SIM_ASAN
    __asan_unpoison_memory_region(fiber->base, stack_bytes);  // the last frame never returned, its red zones are still set
#endif
#ifdef HOLDFAST_SIM_TSAN
    // A stack used again would carry the accesses of the ended fibre, which look like races: a fresh mapping has none.
    __tsan_destroy_fiber(fiber->tsan);
    return unmap(fiber);
#endif
    idle_.push_back(fiber);
  }

  void map_stack() {
    auto fiber = std::make_unique<Stack>();
    fiber->guarded = stacks_ < guarded_stacks_max;
    const std::size_t guard = fiber->guarded ? guard_bytes : 0;
    void* memory = mmap(nullptr, stack_bytes + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED, "map stack {} of a simulation: no memory", stacks_);
    if (fiber->guarded) CHECK(mprotect(memory, guard_bytes, PROT_NONE) == 0, "guard stack {} of a simulation", stacks_);
    fiber->base = static_cast<char*>(memory) + guard;
    if (!fiber->guarded) std::memcpy(fiber->base, &canary, sizeof(canary));
    ++stacks_;
    idle_.push_back(fiber.release());
  }

  void unmap(Stack* fiber) {
    const std::size_t guard = fiber->guarded ? guard_bytes : 0;
    munmap(fiber->base - guard, stack_bytes + guard);
    delete fiber;
    --stacks_;
  }

  HOLDFAST_SIM_NO_TSAN static void entry(context::transfer_t from) {
    auto* self = static_cast<FiberEngine*>(from.data);
    self->scheduler_ = from.fctx;
#ifdef HOLDFAST_SIM_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &self->scheduler_stack_, &self->scheduler_stack_bytes_);
#endif
    Stack* fiber = stack_of(*self->running());
    run(*fiber);
    swap_exception_state(fiber->exceptions, self->exceptions_);
#ifdef HOLDFAST_SIM_ASAN
    __sanitizer_start_switch_fiber(nullptr, self->scheduler_stack_, self->scheduler_stack_bytes_);
#endif
#ifdef HOLDFAST_SIM_TSAN
    __tsan_switch_to_fiber(self->tsan_, __tsan_switch_to_fiber_no_sync);
#endif
    context::jump_fcontext(self->scheduler_, nullptr);
    __builtin_unreachable();
  }

  std::size_t stacks_ = 0;
  std::vector<Stack*> idle_;
  context::fcontext_t scheduler_ = nullptr;
  ExceptionState exceptions_;
  void* fake_stack_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
  void* tsan_ = nullptr;
};

}  // namespace

std::unique_ptr<Engine> make_fiber_engine() { return std::make_unique<FiberEngine>(); }

}  // namespace holdfast::sim
