// What the command does when a signal ends it: a last line that says why, and no temporary file left.
#pragma once

#include <string>

namespace holdfast::cli {

/// Installs the handlers, once, before any thread starts. SIGINT and SIGTERM end the process as they would have; SIGBUS, which a mapped
/// file gives that shrinks or cannot be read, ends it with exit code 2.
void handle_signals();

/// The one file to remove when the process is interrupted; "" for none.
void remove_on_interrupt(const std::string& path);

}  // namespace holdfast::cli
