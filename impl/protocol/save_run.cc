#include "impl/protocol/save_run.h"

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/plan/codec.h"
#include "impl/protocol/default_planner.h"
#include "impl/protocol/round.h"

namespace holdfast::protocol {
namespace {

template <typename Value>
Result<SharedBytes> encoded(const Result<Value>& value) {
  if (!value) return fail(value.error());
  Encoder out;
  plan::encode(out, *value);
  return SharedBytes(out.take());
}

}  // namespace

SaveRun::SaveRun(Session& session, const SaveOptions& options)
    : env_(session.env()), comm_(session.shared_comm()), step_(options.step), end_(env_.clock.after(options.deadline)),
      planner_(options.planner ? options.planner : std::make_shared<DefaultSavePlanner>()), writer_(options.writer) {
  if (writer_) return;
  own_ = std::make_shared<SegmentWriter>(
      env_, session.staging(),
      SegmentWriterOptions{options.step, options.block_bytes, options.retention, session.last_verified(), options.staging_budget_bytes});
  writer_ = own_;
}

Checkpointed<void> SaveRun::plan(const StateDict& state, const Status& before) {
  comm_->begin(fmt::format("save step {}", step_));
  const comm::Timetable times = comm_->schedule(end_);
  Result<SavePlan> local = before ? plan_locally(state, role_of(*comm_, times)) : fail(before.error());
  auto planned = comm_->agree(encoded(local), [&](std::vector<SharedBytes> all) { return plan_globally(std::move(all)); }, times);
  // A rank that does not hear the end of this round writes nothing, so nothing can be committed: for it, too, the save failed.
  if (!planned) return tl::unexpected(to_error("plan", std::move(planned).error(), Outcome::failed));
  Decoder reply(planned->own.view(), "plan reply");
  Result<SavePlan> plan = plan::apply_kept(*std::move(local), reply);
  if (plan) {
    plan_ = expand(*std::move(plan), comm_->rank());
    plan_ready_ = true;
  } else {
    writing_ = fail(std::move(plan).error());
  }
  times_ = comm_->schedule(end_);
  return {};
}

Result<SavePlan> SaveRun::plan_locally(const StateDict& state, const Role& role) {
  env_.enter("2 plan");
  TRY(writer_->reset());
  TRY(planner_->set_up_planner(state, role.rank, role.is_coordinator));
  TRY(writer_->set_up_storage_writer(role));
  SavePlan plan = TRY(planner_->create_local_plan());
  return writer_->prepare_local_plan(std::move(plan));
}

Result<comm::Answer> SaveRun::plan_globally(std::vector<SharedBytes> contributions) {
  std::vector<ByteView> messages;
  for (const SharedBytes& bytes : contributions) messages.push_back(bytes.view());
  const std::vector<SavePlan> local = TRY(plan::decode_save_plans(messages));
  plan::GlobalSavePlan global = TRY(planner_->create_global_plan(local));
  metadata_ = std::move(global.metadata);
  const std::vector<SavePlan> plans = TRY(writer_->prepare_global_plan(std::move(global.plans)));
  if (plans.size() != local.size()) {
    return fail(ErrorCode::invalid_argument, "plan: the planner returned {} plans for {} ranks", plans.size(), local.size());
  }
  comm::Answer answer;
  answer.by_rank = plan::encode_replies(local, plans);
  return answer;
}

void SaveRun::start_writing() {
  if (plan_ready_) writing_ = write();
}

Result<Writing> SaveRun::write() {
  SavePlan plan = TRY(planner_->finish_plan(std::move(plan_)));
  return writer_->write_data(std::move(plan), planner_);
}

Status SaveRun::staged() { return writing_ ? writing_->staged.get(times_->work()) : Status(fail(writing_.error())); }

Result<std::vector<WriteResult>> SaveRun::written(PendingState* pending) {
  if (!writing_) return fail(writing_.error());
  return pending ? written_or_cancelled(*pending) : writing_->written.get(times_->work());
}

/// Two things to wait for, so the one is watched by a task. It owns what it uses: after a cancel it is left alone.
Result<std::vector<WriteResult>> SaveRun::written_or_cancelled(PendingState& pending) {
  using Results = Result<std::vector<WriteResult>>;
  const auto monitor = pending.monitor;
  const auto results = std::make_shared<std::optional<Results>>();
  const auto watched = std::make_shared<port::Future<std::vector<WriteResult>>>(std::move(writing_->written));
  const port::TaskId watcher = TRY(env_.tasks.spawn("await the writing", [=, deadline = times_->work()] {
    Results got = watched->get(deadline);
    monitor->change([&] { *results = std::move(got); });
  }));
  env_.tasks.detach(watcher);
  bool cancelled = false;
  TRY(monitor->wait(
      "the writing, or a cancel",
      [&] {
        cancelled = pending.cancelled;
        return cancelled || results->has_value();
      },
      times_->work()));
  if (!MUTATE("save.ignores_cancel", cancelled, false)) return std::move(**results);
  MARK("save.cancelled");
  return fail(ErrorCode::aborted, "save step {}: cancelled on this rank", step_);
}

Result<comm::Answer> SaveRun::commit(const std::vector<SharedBytes>& contributions) {
  std::vector<std::vector<WriteResult>> results;
  for (const SharedBytes& bytes : contributions) {
    Decoder in(bytes.view(), "write results");
    results.push_back(TRY(plan::decode_write_results(in)));
  }
  TRY(writer_->finish(metadata_, results));
  return nothing_to_say();
}

Checkpointed<Saved> SaveRun::conclude(PendingState* pending) {
  const Result<std::vector<WriteResult>> results = written(pending);
  env_.enter("5 agree");
  auto committed = comm_->agree(encoded(results), [&](std::vector<SharedBytes> all) { return commit(all); }, *times_);
  if (!committed) return tl::unexpected(to_error("write", std::move(committed).error(), Outcome::unknown));
  env_.enter("7 outcome");
  if (!own_) return Saved{};
  return Saved{own_->ticket().directory, own_->ticket().sequence, own_->warnings()};
}

}  // namespace holdfast::protocol
