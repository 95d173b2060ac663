// OS threads that pass a baton: each body has a thread of its own, and the only one that runs is the one that holds the baton. Exceptions,
// thread_local variables and stacks are those of ordinary threads, so this engine shows what the fibres must do. A thread serves one body
// after the other. Handing the baton over orders all accesses: this engine hides races between tasks from ThreadSanitizer.
#pragma once

#include <memory>

#include "sim/engine.h"

namespace holdfast::sim {

std::unique_ptr<Engine> make_thread_engine();

/// Keeps the calling thread, and the threads that it and they make from now on, on the processor it runs on: passing the baton from one
/// processor to another takes four times as long. For programs that make one run at a time. Where the system refuses, nothing changes.
void stay_on_one_processor();

}  // namespace holdfast::sim
