// The order between the trainer's stream and ours. Streams of ours that touch tensors are opened here and nowhere else, so that none forgets to wait.
#pragma once

#include <memory>
#include <optional>

#include "impl/port/env.h"

namespace holdfast::protocol {

/// What the trainer had enqueued on a stream of its own at a certain moment, which may still write or read its tensors. Copies stand for the same moment; the
/// device must outlive the last of them. As made by default, nothing: whoever comes after it waits for nothing.
class TrainerWork {
 public:
  TrainerWork() = default;
  /// What is enqueued on `stream` now; none: nothing. To be called at once by the thread that calls us, never by a task: what the trainer enqueues later is none of
  /// it, and which stream cudaStreamPerThread is depends on the thread.
  /// Errors: the device's, among them invalid_argument for a stream that it does not know, or that is capturing.
  static Result<TrainerWork> enqueued_on(const port::Env& env, std::optional<port::StreamId> stream);

  /// A new stream of ours, whose work comes after this. The caller destroys it. Blocks for nothing. Errors: the device's; then there is no stream.
  Result<port::StreamId> open_stream(const port::Env& env) const;
  /// Blocks until it is over: for hooks of the caller's own, whose streams we do not see. Errors: the device's; timeout.
  Status await(const port::Env& env, port::Deadline deadline) const;

 private:
  explicit TrainerWork(std::shared_ptr<const port::EventId> end) : end_(std::move(end)) {}

  std::shared_ptr<const port::EventId> end_;  ///< an event, destroyed with the last copy; null: nothing
};

}  // namespace holdfast::protocol
