// What runs the ranks: something that can start a body, run it until it suspends, and go on from there. One engine drives one run at a
// time, and exactly one of its bodies runs at any moment. There are two, and a run is the same on both.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "impl/core/error.h"
#include "sim/tsan.h"

namespace holdfast::sim {

enum class EngineKind : std::uint8_t {
  fiber,  ///< stackful fibres on the calling thread: fast, and ThreadSanitizer sees races between them
  thread,  ///< OS threads that pass a baton: slow, the oracle for the fibres, and for code that cannot live on one (thread_local, deep stacks)
};
const char* to_string(EngineKind kind);
/// Errors: invalid_argument for a name that is neither "fiber" nor "thread".
Result<EngineKind> engine_named(std::string_view name);

/// The engine of every Scenario that names none: fiber, unless the program chose another. Process-wide; choose before a run starts.
EngineKind default_engine();
void set_default_engine(EngineKind kind);

/// Breaking a rule of the calls below is a CHECK.
class Engine {
 public:
  using Body = void (*)(void* argument);  ///< no exception may leave it
  /// One started body; each engine adds what it needs.
  struct Fiber {
    Body body = nullptr;
    void* argument = nullptr;
    bool ended = false;
  };

  virtual ~Engine() = default;
  /// Prepares `body` to run. Nothing runs yet. Not called from inside a body.
  Fiber* create(Body body, void* argument);
  /// Runs the body until it suspends or returns. Not called from inside a body, nor for one that returned.
  void resume(Fiber* fiber);
  /// Goes back to the caller of resume. Called from inside a body.
  void suspend();
  /// Takes back a fibre whose body returned.
  void recycle(Fiber* fiber);

 protected:
  static void run(Fiber& fiber) noexcept;
  HOLDFAST_SIM_NO_TSAN Fiber* running() const { return running_; }

 private:
  virtual Fiber* take() = 0;
  virtual void switch_to(Fiber& fiber) = 0;    ///< returns when the body suspended or ended
  virtual void switch_back(Fiber& fiber) = 0;  ///< from inside its body; returns when it is resumed
  virtual void give_back(Fiber& fiber) = 0;

  Fiber* running_ = nullptr;
};

using EngineLease = std::unique_ptr<Engine, std::function<void(Engine*)>>;

/// An engine with the stacks or threads that earlier runs made; it goes back to the process's pool when the lease ends. May be called from
/// any thread.
EngineLease borrow_engine(EngineKind kind);

}  // namespace holdfast::sim
