#include "impl/protocol/commit.h"

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/format/hint.h"
#include "impl/protocol/files.h"
#include "impl/protocol/give_up.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {

Result<Published> publish(port::Storage& storage, CommitRecord record, port::Deadline deadline) {
  const plan::Committed checkpoint = record.checkpoint();
  const Status done = publish_if_absent(storage, plan::directory_name(checkpoint.id), manifest_name, record.bytes(), deadline);
  if (!done && MUTATE("segment_writer.ignores_failed_publish", true, false)) return fail(done.error());
  return Published(checkpoint);
}

Status point_hint_at(port::Storage& storage, const Published& newest, port::Deadline deadline) {
  return replace_file(storage, "", hint_name, format::encode_hint(plan::directory_name(newest.checkpoint().id)), deadline);
}

Status retire(port::Storage& storage, const Published& newest, const plan::RetentionPolicy& policy,
              const std::optional<plan::AttemptId>& last_verified, port::Deadline deadline) {
  const plan::Committed& own = newest.checkpoint();
  const Survey found = TRY(survey(storage, deadline));
  for (const plan::AttemptId id : plan::to_retire(committed_of(found), own.sequence, policy, last_verified)) {
    MARK("commit.retired");
    TRY(remove_directory_tree(storage, plan::directory_name(id), manifest_name, deadline));
  }
  TRY(sweep_removed(storage, found.removed, deadline));
  for (const plan::AttemptId id : found.uncommitted) {
    // An attempt with a higher number is somebody else's, and younger than ours.
    if (id.attempt >= own.id.attempt) continue;
    const std::string directory = plan::directory_name(id);
    if (!TRY(give_up(storage, directory, deadline))) continue;
    MARK("commit.swept_orphan");
    TRY(remove_given_up(storage, directory, deadline));
  }
  return storage.sync_directory("", deadline);
}

}  // namespace holdfast::protocol
