// The rounds and hooks of one save on one rank, as save() and async_save() run them. Private to impl/protocol.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "impl/protocol/pending_save.h"
#include "impl/protocol/plan_offer.h"
#include "impl/protocol/save_notes.h"
#include "impl/protocol/state_view.h"

namespace holdfast::protocol {

/// Owns, or shares, all it uses but the state dict, which is read by plan() and until staged() has returned.
class SaveRun {
 public:
  /// The save's deadline runs from here.
  SaveRun(Session& session, const SaveOptions& options);

  port::Deadline end() const { return end_; }
  /// 1 and 2. `before`: what keeps this rank from taking part; it fails the round.
  Checkpointed<void> plan(const StateDict& state, const Status& before);
  /// 3 and 4 begin. An error is kept for conclude().
  void start_writing();
  /// Blocks until the tensors are not read any more. Errors: those of the writing; timeout: they still may be.
  Status staged();
  /// After that blocks until they are not read any more, at most until end(): then there is unfinished work (Session::unfinished()).
  void release();
  /// 4 to 8: waits for the writing, then the round that commits. Gives up when `pending` is cancelled first (it may be null).
  Checkpointed<Saved> conclude(PendingState* pending);

 private:
  Result<SavePlan> plan_locally(const StateDict& state, const Role& role);
  Bytes notes() const;
  plan::PlanContext context() const;
  SharedBytes offer(const SavePlan& local);
  Result<comm::Answer> plan_globally(const std::vector<SharedBytes>& contributions);
  Result<comm::Answer> plan_anew(const PlanOffers& offers);
  Result<comm::Answer> plan_again(const plan::CachedPlan& cached);
  Status add_structure(const std::vector<SaveNotes>& notes);
  Status take_reply(SavePlan local, const comm::Received& reply);
  Result<SavePlan> claimed_plan();
  Result<Writing> write();
  Result<SharedBytes> result_message(const Result<std::vector<WriteResult>>& results) const;
  Result<std::vector<WriteResult>> written(PendingState* pending);
  Result<std::vector<WriteResult>> written_or_cancelled(PendingState& pending);
  Checkpointed<Saved> write_round(PendingState* pending);
  Result<comm::Answer> commit(const std::vector<SharedBytes>& contributions);
  Result<ReplicaVerdict> compare(const std::vector<std::vector<WriteResult>>& results,
                                 const std::vector<std::vector<plan::HeldBox>>& held) const;

  port::Env env_;
  std::shared_ptr<comm::Comm> comm_;
  Step step_;
  KeyMap keys_;
  std::optional<Structure> structure_;
  Replicas replicas_;
  port::Deadline end_;
  std::shared_ptr<SavePlanner> planner_;
  std::shared_ptr<StorageWriter> writer_;
  std::shared_ptr<SegmentWriter> own_;      ///< the writer, when it is not the caller's
  Result<TrainerWork> after_;               ///< before the tensors are read
  bool hooks_wait_ = false;                 ///< on the host: some are the caller's own
  std::shared_ptr<plan::PlanCache> cache_;  ///< the session's; null: this save uses none
  plan::PlanClaim claim_;                   ///< to the plan of this save
  bool plan_was_cached_ = false;
  Bytes notes_;        ///< of this rank, encoded
  Metadata metadata_;  ///< on the coordinator, between the rounds
  SaveView view_;      ///< of the state dict, until it is staged
  SavePlan held_;      ///< of this rank, as it went to the coordinator; only where replicas are compared
  std::vector<plan::HeldBox> replica_digests_;
  std::vector<std::string> warnings_;
  SavePlan plan_;                         ///< of this rank, between the rounds
  bool plan_ready_ = false;               ///< the coordinator's reply was understood
  std::optional<comm::Timetable> times_;  ///< of the write round
  Result<Writing> writing_ = fail(ErrorCode::aborted, "nothing is being written");
};

}  // namespace holdfast::protocol
