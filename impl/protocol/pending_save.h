// async_save(): a save that goes on while the trainer trains.
#pragma once

#include <memory>
#include <optional>

#include "impl/protocol/save.h"

namespace holdfast::protocol {

/// What a pending save and the session that started it share.
struct PendingState {
  explicit PendingState(std::shared_ptr<port::Monitor> the_monitor) : monitor(std::move(the_monitor)) {}

  std::shared_ptr<port::Monitor> monitor;  // over everything below
  std::optional<Checkpointed<Saved>> outcome;
  bool concluding = false;  ///< somebody has begun to bring the save to its end
  bool observed = false;    ///< somebody has been given the outcome
  bool cancelled = false;   ///< the trainer gave it up
};

/// The handle of a save under way. Dropped, the save goes on, and an error of it is told by the session's next call.
class PendingSave {
 public:
  explicit PendingSave(std::shared_ptr<PendingState> state) : state_(std::move(state)) {}

  /// Blocks until the outcome is known, at most until `deadline`: then nothing is returned, and it may be called again. The save ends by its own deadline.
  std::optional<Checkpointed<Saved>> wait(port::Deadline deadline);
  bool done() const;
  /// Gives the save up. If this rank had not yet reported what it wrote, the save fails on every rank, naming this one; else it is too late, and the outcome is
  /// what it is. Data that is being written may still be written, but is never committed. Blocks for nothing.
  void cancel();

 private:
  std::shared_ptr<PendingState> state_;
};

/// Starts to save `state` and returns once its values are safe: from then on the trainer may change, move or free them. Every rank of the session calls
/// it, with equal options; rounds and writes go on in a task, on the session's own channel, beside whatever the trainer sends.
/// Returns: a pending save, also when this rank could not stage its part: the outcome is the same on every rank, and comes from wait().
/// Errors: of the plan, the same on every rank, step "plan": then nothing was started.
/// Blocks: for the plan round, for the work on options.after and until everything is copied, at most options.deadline, which is that of the whole save. With Snapshot::device that is a copy
/// within the device; device memory is given back as what it holds is staged, whether the save succeeds, fails or is cancelled. Else it is staging: with a
/// staging_budget_bytes below this rank's part it blocks while data is written to make room: memory never exceeds the budget. As after save(), nothing
/// reads the tensors any more, unless Session::unfinished() says so.
/// If a save of the session is still pending, waits for it first; an error of it that nobody has waited for fails this one.
Checkpointed<PendingSave> async_save(Session& session, const StateDict& state, const SaveOptions& options);

/// Waits for a pending save of the session, if there is one, and forgets it. Gives its error when nobody has waited for that: the caller brings it to its
/// first round, so that every rank hears of it. Errors: step "pending" when the save is still under way at the deadline: the caller then
/// cannot take part in any round.
Checkpointed<Status> settle(Session& session, port::Deadline deadline);

}  // namespace holdfast::protocol
