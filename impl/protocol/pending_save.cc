#include "impl/protocol/pending_save.h"

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/protocol/save_run.h"

namespace holdfast::protocol {

std::optional<Checkpointed<Saved>> PendingSave::wait(port::Deadline deadline) {
  std::optional<Checkpointed<Saved>> outcome;
  const auto look = [&] {
    if (!state_->outcome) return false;
    state_->observed = true;
    outcome = state_->outcome;
    return true;
  };
  // A timeout is told by there being nothing.
  if (const Status waited = state_->monitor->wait("a pending save", look, deadline); !waited) outcome.reset();
  return outcome;
}

bool PendingSave::done() const {
  bool done = false;
  state_->monitor->change([&] { done = state_->outcome.has_value(); });
  return done;
}

void PendingSave::cancel() {
  state_->monitor->change([&] { state_->cancelled = true; });
}

Checkpointed<PendingSave> async_save(Session& session, const StateDict& state, const SaveOptions& options) {
  const auto run = std::make_shared<SaveRun>(session, options);
  const Checkpointed<Status> before = settle(session, run->end());
  if (!before) return tl::unexpected(before.error());
  if (auto planned = run->plan(state, *before); !planned) return tl::unexpected(std::move(planned).error());
  run->start_writing();
  // What cannot be staged cannot be written either: the other ranks hear of it in the round that commits.
  const Status staged = MUTATE("save.returns_before_staged", run->staged(), Status());
  if (!staged) MARK("async_save.not_staged");

  const auto pending = std::make_shared<PendingState>(session.env().tasks.make_monitor());
  const auto conclude = [run, pending] {
    bool first = false;
    pending->monitor->change([&] { first = !std::exchange(pending->concluding, true); });
    if (!first) return;  // a task that was said not to start did
    Checkpointed<Saved> outcome = run->conclude(pending.get());
    pending->monitor->change([&] { pending->outcome = std::move(outcome); });
  };
  const Result<port::TaskId> task = session.env().tasks.spawn("conclude a save", conclude);
  if (task) {
    session.env().tasks.detach(*task);
  } else {
    conclude();  // without a task the other ranks would wait for this one
  }
  session.set_pending(pending);
  if (!staged) run->release();
  return PendingSave(pending);
}

Checkpointed<Status> settle(Session& session, port::Deadline deadline) {
  const std::shared_ptr<PendingState> pending = session.pending();
  if (!pending) return Status();
  Status before;
  const auto look = [&] {
    if (!pending->outcome) return false;
    if (!pending->observed && !pending->outcome->has_value()) {
      before = fail(ErrorCode::aborted, "the save before this, for which nobody waited: {}", to_string(pending->outcome->error()));
    }
    return true;
  };
  if (const Status waited = pending->monitor->wait("the save before", look, deadline); !waited) {
    FailureMap failures;
    failures.add(session.comm().rank(), within(waited.error(), "a save of this session is still pending"));
    return tl::unexpected(CheckpointError{"pending", Outcome::failed, std::move(failures), {}});
  }
  session.set_pending(nullptr);
  if (!before) MARK("settle.unobserved_error");
  return before;
}

}  // namespace holdfast::protocol
