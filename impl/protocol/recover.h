// recover(): what a job does before it goes on after a crash: find the newest checkpoint, clear away attempts that were never committed.
#pragma once

#include <string>
#include <vector>

#include "impl/protocol/save.h"
#include "impl/protocol/session.h"

namespace holdfast::protocol {

struct RecoverOptions {
  port::Duration deadline = std::chrono::minutes(2);
};

struct Recovered {
  std::string newest;              ///< directory of the newest committed checkpoint, or empty
  std::vector<std::string> swept;  ///< attempts without a commit record that were emptied; all but the highest number are gone
};

/// Requires: no save of this job is running, here or elsewhere: a running attempt looks like one that was given up.
/// Every rank of the session calls it and gets the same answer. Blocks: at most options.deadline. Idempotent.
Checkpointed<Recovered> recover(Session& session, const RecoverOptions& options = {});

}  // namespace holdfast::protocol
