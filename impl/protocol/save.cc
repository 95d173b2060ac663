#include "impl/protocol/save.h"

#include "impl/protocol/save_run.h"

namespace holdfast::protocol {
namespace {

/// A save that waits until everything is durable gains nothing by staging further ahead than its writers have under way.
constexpr std::uint64_t streaming_budget_bytes = 64 << 20;

}  // namespace

Checkpointed<Saved> save(Session& session, const StateDict& state, const SaveOptions& options) {
  SaveOptions streaming = options;
  streaming.snapshot = Snapshot::staging;
  if (!streaming.staging_budget_bytes) streaming.staging_budget_bytes = streaming_budget_bytes;
  SaveRun run(session, streaming);
  const Checkpointed<Status> before = settle(session, run.end());
  if (!before) return tl::unexpected(before.error());
  if (auto planned = run.plan(state, *before); !planned) return tl::unexpected(std::move(planned).error());
  run.start_writing();
  const Status staged = run.staged();  // an error of it is one of the writing, too
  (void)staged;
  Checkpointed<Saved> outcome = run.conclude(nullptr);
  run.release();
  return outcome;
}

}  // namespace holdfast::protocol
