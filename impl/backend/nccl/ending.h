// The end of a communicator, whatever became of its work: abort, then wait until its stream is empty. Only then is the memory of an exchange free.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "impl/backend/cuda/runtime.h"
#include "impl/backend/nccl/table.h"
#include "impl/port/tasks.h"

namespace holdfast::backend {

/// NCCL may not return from an abort, so that is made in a task.
class Ending {
 public:
  struct Parts {
    std::shared_ptr<const NcclTable> table;
    ncclComm_t communicator = nullptr;
    std::shared_ptr<const std::string> name;  ///< the communicator may point to it
    int device = 0;
    cuda::OwnedStream stream;
    cuda::OwnedEvent event;
  };
  Ending(Parts parts, port::Tasks& tasks, port::Clock& clock) : parts_(std::move(parts)), tasks_(tasks), clock_(clock) {}

  /// Begins or goes on. Blocks until both is over. Errors: timeout, which says what is not; then it may be called again.
  Status wait(port::Deadline deadline);

 private:
  Status abort(port::Deadline deadline);
  Result<bool> poll(const cuda::Site& site);
  /// After one poll. A device that is lost runs nothing any more; after another error the next poll may know.
  bool drained();

  Parts parts_;
  port::Tasks& tasks_;
  port::Clock& clock_;
  std::optional<port::Future<void>> aborting_;
  bool recorded_ = false;
  std::string lost_;  ///< the error that lost the device
};

}  // namespace holdfast::backend
