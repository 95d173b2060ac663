// Processes forked from this one, each to give a value, and how each of them ended.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "impl/backend/tcp/socket.h"
#include "impl/core/bytes.h"
#include "impl/core/error.h"

namespace holdfast::properties {

struct ProcessEnd {
  std::optional<Bytes> result;  ///< what the body gave; none when it did not come back
  std::string how;              ///< then: "killed by signal 6 (Aborted)" and the like, with the end of what the process has printed
};

std::string killed_by(int signal);  ///< ProcessEnd::how, if nothing was printed

/// No process outlives this object, nor the process that made it. The caller has no other thread: what one holds at a fork, such as a lock, is
/// held in the child for ever.
class Processes {
 public:
  /// Errors: io_error.
  static Result<Processes> make();
  /// Kills whatever still runs.
  ~Processes();
  Processes(Processes&&) = default;
  Processes& operator=(Processes&&) = delete;

  /// Forks a process that runs `body` on a copy of all memory, and then ends without returning to the caller's code. An exception that leaves
  /// `body` ends it, too. Errors: io_error.
  Status start(const std::function<Bytes()>& body);

  /// Blocks until all have ended; kills those that still run after `limit`. In the order of the starts.
  std::vector<ProcessEnd> wait(std::chrono::milliseconds limit);

 private:
  struct Child {
    pid_t process = -1;
    backend::Fd result;  ///< a file in memory, as `printed` is
    backend::Fd printed;
  };
  Processes(backend::Fd ended, backend::Fd alive) : ended_(std::move(ended)), alive_(std::move(alive)) {}

  backend::Fd ended_;  ///< at its end once nobody holds `alive_`, which every child does
  backend::Fd alive_;
  std::vector<Child> children_;
};

}  // namespace holdfast::properties
