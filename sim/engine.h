// What runs the ranks: something that can start a body, run it until it suspends, and go on from there. One engine drives one run at a
// time, and exactly one of its bodies runs at any moment.
#pragma once

#include <memory>

namespace holdfast::sim {

class Engine {
 public:
  struct Fiber;  ///< one started body; defined by the engine
  using Body = void (*)(void* argument);

  virtual ~Engine() = default;
  /// Prepares `body` to run. Nothing runs yet. Not called from inside a body.
  virtual Fiber* create(Body body, void* argument) = 0;
  /// Runs the body until it suspends or returns. Not called from inside a body.
  virtual void resume(Fiber* fiber) = 0;
  /// Goes back to the caller of resume. Called from inside a body.
  virtual void suspend() = 0;
  /// Takes back a fibre whose body returned.
  virtual void recycle(Fiber* fiber) = 0;
};

}  // namespace holdfast::sim
