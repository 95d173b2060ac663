#include "impl/protocol/give_up.h"

#include <algorithm>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/protocol/durable.h"
#include "impl/protocol/files.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {
namespace {

SharedBytes record() { return to_bytes(as_bytes(given_up_record)); }

enum class Held : std::uint8_t { nothing, record, other };

/// What lies under a name. Errors: of reading.
Result<Held> look_at(port::Storage& storage, std::string_view path, port::Deadline deadline) {
  const Result<SharedBytes> there = read_file(storage, path, given_up_record.size(), deadline);
  if (there) return as_text(there->view()) == given_up_record ? Held::record : Held::other;
  if (there.error().code == ErrorCode::not_found) return Held::nothing;
  if (there.error().code == ErrorCode::corrupt) return Held::other;
  return fail(there.error());
}

/// The record in a new file. Its name was nobody's before: of two who wrote under one name, one would link the other's file before that is whole.
/// It may be removed once the record has the name that it is for; who links it later finds that name taken.
Result<SyncedFile> write_record(port::Storage& storage, std::string_view directory, port::Deadline deadline) {
  const SharedBytes bytes = record();
  const port::WritePiece piece{0, bytes.view(), bytes.owner()};
  for (int number = 0;; ++number) {
    const std::string path = fmt::format("{}/{}{}", directory, given_up_file_prefix, number);
    if (MUTATE("give_up.shares_its_file", false, true)) (void)storage.remove(path, deadline);
    Result<SyncedFile> written = write_new_file(storage, path, {&piece, 1}, deadline);
    if (written || written.error().code != ErrorCode::already_exists) return written;
    MARK("give_up.another_writes");
  }
}

/// By the mark, if it can be: a name more needs no space. It cannot where a crash came before the mark was there, or it is damaged, or the storage links
/// only files of one directory or of one user.
Status take_name(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  const Result<Held> mark = look_at(storage, given_up_mark, deadline);
  if (mark && *mark == Held::record) {
    const Status taken = link_durably(storage, given_up_mark, directory, manifest_name, record(), deadline);
    if (taken || taken.error().code == ErrorCode::unknown_outcome) return taken;
  }
  MARK("give_up.without_the_mark");
  const Result<SyncedFile> own = write_record(storage, directory, deadline);
  if (!own) return fail(within(own.error(), "give up \"{}\" by a record of its own, for want of \"{}\"", directory, given_up_mark));
  return link_durably(storage, own->path(), directory, manifest_name, record(), deadline);
}

}  // namespace

Status keep_mark(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  if (!storage.caps().link_if_absent) return {};
  const Held there = TRY(look_at(storage, given_up_mark, deadline));
  if (there == Held::record) return {};
  MARK("give_up.mark_made");
  if (there == Held::other) TRY(storage.remove(given_up_mark, deadline));
  const SyncedFile own = TRY(write_record(storage, directory, deadline));
  const Status linked = link_durably(storage, own.path(), "", given_up_mark, record(), deadline);
  if (!linked && linked.error().code != ErrorCode::unsupported) return linked;
  if (!storage.remove(own.path(), deadline)) MARK("files.temporary_left");  // harmless, as in publish_if_absent
  return {};
}

Result<bool> give_up(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  if (!storage.caps().link_if_absent) return true;
  if (MUTATE("give_up.takes_no_name", false, true)) return true;
  const Status taken = take_name(storage, directory, deadline);
  if (taken) return true;
  if (taken.error().code != ErrorCode::unknown_outcome) return fail(taken.error());
  if (TRY(look_at(storage, join(directory, manifest_name), deadline)) == Held::record) {  // an error came with the link
    TRY(storage.sync_directory(directory, deadline));
    return true;
  }
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
