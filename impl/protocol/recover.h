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
  std::string newest;  ///< directory of the newest committed checkpoint, or empty
  std::vector<std::string>
      swept;  ///< attempts without a commit record: emptied, and never committed any more; the next commit removes them
};

/// Ends every save of the job that has not committed yet, elsewhere too: a running attempt looks like one that was given up, so it is given up. An
/// old coordinator that is still alive, or wakes up later, cannot commit it any more, and says unknown.
/// Requires: no save of this session is running. On a storage without link_if_absent, or so full that not even the record that ends a save can be written
/// (then room is made first): nor one of an older job, anywhere.
/// Every rank of the session calls it and gets the same answer. Blocks: at most options.deadline. Idempotent.
Checkpointed<Recovered> recover(Session& session, const RecoverOptions& options = {});

}  // namespace holdfast::protocol
