// Stackful fibres on the calling thread (Boost.Context). Every switch carries the exception state of the C++ runtime and tells
// AddressSanitizer and ThreadSanitizer; stacks are mapped once and kept.
#pragma once

#include <memory>

#include "sim/engine.h"

namespace holdfast::sim {

std::unique_ptr<Engine> make_fiber_engine();

}  // namespace holdfast::sim
