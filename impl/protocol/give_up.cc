#include "impl/protocol/give_up.h"

#include <algorithm>
#include <utility>

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

constexpr std::string_view removed_suffix = ".removed";  // "step-7.a3.removed" is the name of no attempt

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
  const std::string removed = fmt::format("{}{}", directory, removed_suffix);
  return remove_directory_at_once(storage, directory, removed, deadline);
}

Status sweep_removed(port::Storage& storage, port::Deadline deadline) {
  bool synced = false;  // a name that may come back must not come back to an empty directory
  for (const port::DirectoryEntry& entry : TRY(storage.list("", deadline))) {
    const std::string_view name = entry.name;
    if (!entry.directory || !name.ends_with(removed_suffix)) continue;
    if (!plan::parse_directory_name(name.substr(0, name.size() - removed_suffix.size()))) continue;
    MARK("give_up.swept_removed");
    if (!std::exchange(synced, true)) TRY(storage.sync_directory("", deadline));
    TRY(remove_directory_tree(storage, entry.name, {}, deadline));
  }
  return {};
}

}  // namespace holdfast::protocol
