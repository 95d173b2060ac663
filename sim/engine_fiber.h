// Stackful fibres on the calling thread (Boost.Context). Every switch carries the exception state of the C++ runtime and tells
// AddressSanitizer and ThreadSanitizer; stacks are mapped once and kept.
#pragma once

#include <functional>
#include <memory>

#include "sim/engine.h"

namespace holdfast::sim {

using EngineLease = std::unique_ptr<Engine, std::function<void(Engine*)>>;

/// An engine with the stacks that earlier runs mapped; it goes back to the process's pool when the lease ends. May be called from any
/// thread.
EngineLease borrow_fiber_engine();

}  // namespace holdfast::sim
