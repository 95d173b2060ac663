#include "impl/protocol/give_up.h"

#include <algorithm>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/protocol/files.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {
namespace {

/// Whether the name is taken; durable then.
Result<bool> is_given_up(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  const Result<SharedBytes> there = read_file(storage, join(directory, manifest_name), given_up_record.size(), deadline);
  if (!there || !std::ranges::equal(there->view(), as_bytes(given_up_record))) return false;
  TRY(storage.sync_directory(directory, deadline));
  return true;
}

}  // namespace

Result<bool> give_up(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  if (!storage.caps().link_if_absent) return true;
  if (MUTATE("give_up.takes_no_name", false, true)) return true;
  // Somebody else may be at it: then there is nothing to write, or nothing any more.
  if (TRY(is_given_up(storage, directory, deadline))) return true;
  const Status taken = publish_if_absent(storage, directory, manifest_name, to_bytes(as_bytes(given_up_record)), deadline, ".given-up");
  if (taken || TRY(is_given_up(storage, directory, deadline))) return true;
  if (taken.error().code != ErrorCode::unknown_outcome) return fail(taken.error());
  const Survey found = TRY(survey(storage, deadline));
  if (std::ranges::find(found.committed, directory, &CommittedAttempt::directory) == found.committed.end()) return fail(taken.error());
  MARK("give_up.was_committed");
  return false;
}

Status remove_given_up(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  if (!storage.caps().atomic_rename || MUTATE("give_up.removed_in_place", false, true)) {
    TRY(remove_all_but(storage, directory, manifest_name, deadline));
    return remove_directory_tree(storage, directory, manifest_name, deadline);
  }
  return remove_directory_at_once(storage, directory, fmt::format("{}{}", directory, removed_suffix), deadline);
}

Status sweep_removed(port::Storage& storage, const std::vector<std::string>& removed, port::Deadline deadline) {
  if (removed.empty()) return {};
  MARK("give_up.swept_removed");
  TRY(storage.sync_directory("", deadline));  // a name that may come back must not come back to an empty directory
  for (const std::string& directory : removed) TRY(remove_directory_tree(storage, directory, {}, deadline));
  return {};
}

}  // namespace holdfast::protocol
