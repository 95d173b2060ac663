#include "sim/engine.h"

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

#include "impl/core/check.h"
#include "sim/engine_fiber.h"
#include "sim/engine_thread.h"

namespace holdfast::sim {
namespace {

constexpr std::size_t engine_kinds = 2;
constexpr std::array<const char*, engine_kinds> names = {"fiber", "thread"};

std::atomic<EngineKind> chosen = EngineKind::fiber;

struct Pool {
  std::mutex mutex;
  std::array<std::vector<std::unique_ptr<Engine>>, engine_kinds> idle;
};

Pool& pool() {
  static Pool made;
  return made;
}

std::unique_ptr<Engine> make_engine(EngineKind kind) { return kind == EngineKind::fiber ? make_fiber_engine() : make_thread_engine(); }

}  // namespace

const char* to_string(EngineKind kind) { return names[static_cast<std::size_t>(kind)]; }

Result<EngineKind> engine_named(std::string_view name) {
  for (std::size_t kind = 0; kind < engine_kinds; ++kind) {
    if (name == names[kind]) return static_cast<EngineKind>(kind);
  }
  return fail(ErrorCode::invalid_argument, "engine \"{}\": expected fiber or thread", name);
}

EngineKind default_engine() { return chosen; }
void set_default_engine(EngineKind kind) { chosen = kind; }

Engine::Fiber* Engine::create(Body body, void* argument) {
  CHECK(!running_, "an engine is asked for a body from inside another one");
  Fiber* fiber = take();
  fiber->body = body;
  fiber->argument = argument;
  fiber->ended = false;
  return fiber;
}

// To ThreadSanitizer the fibres are threads, and these are the engine's own accesses, not the ranks'.
HOLDFAST_SIM_NO_TSAN void Engine::resume(Fiber* fiber) {
  CHECK(!running_, "a body is resumed from inside another one");
  CHECK(!fiber->ended, "a body that returned is resumed");
  running_ = fiber;
  switch_to(*fiber);
  running_ = nullptr;
}

HOLDFAST_SIM_NO_TSAN void Engine::suspend() {
  CHECK(running_, "suspend outside of a body");
  switch_back(*running_);
}

void Engine::recycle(Fiber* fiber) {
  CHECK(fiber->ended, "a body is taken back before it returned");
  give_back(*fiber);
}

HOLDFAST_SIM_NO_TSAN void Engine::run(Fiber& fiber) noexcept {
  fiber.body(fiber.argument);
  fiber.ended = true;
}

EngineLease borrow_engine(EngineKind kind) {
  auto& idle = pool().idle[static_cast<std::size_t>(kind)];
  std::unique_ptr<Engine> engine;
  {
    const std::lock_guard lock(pool().mutex);
    if (!idle.empty()) {
      engine = std::move(idle.back());
      idle.pop_back();
    }
  }
  if (!engine) engine = make_engine(kind);
  return EngineLease(engine.release(), [&idle](Engine* used) {
    const std::lock_guard lock(pool().mutex);
    idle.emplace_back(used);
  });
}

}  // namespace holdfast::sim
