#include "impl/protocol/save.h"

#include "impl/protocol/save_run.h"

namespace holdfast::protocol {

Checkpointed<Saved> save(Session& session, const StateDict& state, const SaveOptions& options) {
  SaveRun run(session, options);
  const Checkpointed<Status> before = settle(session, run.end());
  if (!before) return tl::unexpected(before.error());
  if (auto planned = run.plan(state, *before); !planned) return tl::unexpected(std::move(planned).error());
  run.start_writing();
  const Status staged = run.staged();  // an error of it is one of the writing, too
  (void)staged;
  return run.conclude(nullptr);
}

}  // namespace holdfast::protocol
