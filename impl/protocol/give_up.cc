#include "impl/protocol/give_up.h"

#include <algorithm>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/protocol/files.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {

Result<bool> give_up(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  if (!storage.caps().link_if_absent) return true;
  if (MUTATE("give_up.takes_no_name", false, true)) return true;
  const Status taken = publish_if_absent(storage, directory, manifest_name, to_bytes(as_bytes(given_up_record)), deadline, ".given-up");
  if (taken) return true;
  if (taken.error().code != ErrorCode::unknown_outcome) return fail(taken.error());
  const Survey found = TRY(survey(storage, deadline));
  if (std::ranges::find(found.committed, directory, &CommittedAttempt::directory) == found.committed.end()) return fail(taken.error());
  MARK("give_up.was_committed");
  return false;
}

}  // namespace holdfast::protocol
