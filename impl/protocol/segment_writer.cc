#include "impl/protocol/segment_writer.h"

#include <algorithm>
#include <utility>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/protocol/build_manifest.h"
#include "impl/protocol/commit.h"
#include "impl/protocol/files.h"
#include "impl/protocol/give_up.h"
#include "impl/protocol/segment_write.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {

Status SegmentWriter::set_up_storage_writer(const Role& role) {
  role_ = role;
  warnings_.clear();
  return {};
}

Result<SavePlan> SegmentWriter::prepare_local_plan(SavePlan plan) { return plan; }

Result<std::vector<SavePlan>> SegmentWriter::prepare_global_plan(std::vector<SavePlan> plans) {
  env_.enter("1 identify");
  const Survey found = TRY(survey(env_.storage, role_.reduce));
  const std::vector<plan::Committed> committed = committed_of(found);
  attempt_ = plan::next_attempt(found.all, options_.step);
  // Not below the attempt's own number: a MANIFEST that cannot be read just now must not make the new checkpoint rank below the one it commits.
  const std::uint64_t sequence = std::max<std::uint64_t>(plan::next_sequence(committed), attempt_.attempt);
  ticket_ = {plan::directory_name(attempt_), sequence, found.committed.empty() ? "" : found.committed.front().directory};
  // Exclusive: of two coordinators that are alive at once, one gets this name and the other fails here, before anything is written.
  TRY(env_.storage.make_directory(ticket_.directory, role_.reduce));
  // Before anything else is written: an attempt that fills the storage can be given up all the same.
  if (MUTATE("segment_writer.keeps_no_mark", true, false)) TRY(keep_mark(env_.storage, ticket_.directory, role_.reduce));
  TRY(env_.storage.sync_directory("", role_.reduce));
  TRY(check_alone());
  for (SavePlan& plan : plans) plan.storage_data = encode(ticket_);
  return plans;
}

/// Two coordinators that saw the same attempts give themselves the same number, at different steps. Each looks again once its directory is there: the
/// later one of the two sees the other's, and gives way before it has written anything.
Status SegmentWriter::check_alone() {
  for (const plan::AttemptId other : TRY(list_attempts(env_.storage, role_.reduce))) {
    if (other.attempt < attempt_.attempt || other == attempt_) continue;
    if (!MUTATE("segment_writer.never_gives_way", true, false)) continue;
    MARK("segment_writer.gave_way");
    return fail(ErrorCode::already_exists, "begin attempt \"{}\": another coordinator has begun \"{}\"", ticket_.directory,
                plan::directory_name(other));
  }
  return {};
}

Result<Writing> SegmentWriter::write_data(SavePlan plan, std::shared_ptr<SavePlanner> planner) {
  ticket_ = TRY(decode_ticket(plan.storage_data));
  snapshot_ = std::make_shared<Snapshot>(Snapshot::staging);
  const SegmentWriteOptions options{.rank = role_.rank,
                                    .directory = ticket_.directory,
                                    .block_bytes = options_.block_bytes,
                                    .staging_budget_bytes = options_.staging_budget_bytes,
                                    .snapshot_bytes_max = options_.snapshot_bytes_max,
                                    .snapshot = snapshot_,
                                    .deadline = role_.work,
                                    .after = std::exchange(options_.after, {})};
  return SegmentWrite::start(env_, pool_, options, plan, std::move(planner));
}

Status SegmentWriter::finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) {
  env_.enter("6 publish");
  if (MUTATE("segment_writer.delete_before_publish", false, !ticket_.parent.empty())) {
    warn(remove_directory_tree(env_.storage, ticket_.parent, manifest_name, role_.reduce));
  }
  const ManifestHead head{attempt_, ticket_, role_.world_size, options_.block_bytes};
  CommitRecord record = TRY(build_manifest(head, metadata, results));
  const Published published = TRY(publish(env_.storage, std::move(record), role_.reduce));
  env_.enter("8 retire");
  warn(point_hint_at(env_.storage, published, role_.reduce));
  warn(retire(env_.storage, published, options_.retention, options_.last_verified, role_.reduce));
  return {};
}

Result<std::optional<TensorDigest>> SegmentWriter::written_digest(const WriteResult& result, Rank rank) const {
  if (!result.index.offset) return std::optional<TensorDigest>();
  const TensorPlace place = TRY(decode_tensor_place(result.storage_data, rank));
  return std::optional(place.digest);
}

void SegmentWriter::warn(const Status& status) {
  if (status) return;
  MARK("segment_writer.warned");
  warnings_.push_back(fmt::format("{}", status.error()));
}

}  // namespace holdfast::protocol
