#include "impl/protocol/save_run.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/core/rank_values.h"
#include "impl/plan/codec.h"
#include "impl/protocol/default_planner.h"
#include "impl/protocol/replica_digests.h"
#include "impl/protocol/round.h"

namespace holdfast::protocol {
namespace {

std::map<std::string, std::string, std::less<>> names_by_key(const SaveView& view) {
  std::map<std::string, std::string, std::less<>> names;
  for (const auto& [name, key] : view.renamed) names.emplace(key, name);
  return names;
}

/// Of the planner of save(), whose plans may be cached: what they depend on goes into the fingerprint.
constexpr plan::DedupPolicy default_dedup = plan::DedupPolicy::least_bytes;

/// An answer that cannot be understood is told of later.
bool wants_plans(const comm::Received& reply) {
  const Result<PlanAnswer> answer = decode_plan_answer(reply.common.view());
  return answer && answer->form == PlanForm::wanted;
}

}  // namespace

SaveRun::SaveRun(Session& session, const SaveOptions& options)
    : env_(session.env()), comm_(session.shared_comm()), step_(options.step), keys_(options.keys), structure_(options.structure),
      replicas_(options.replicas), end_(env_.clock.after(options.deadline)),
      planner_(options.planner ? options.planner : std::make_shared<DefaultSavePlanner>(default_dedup)), writer_(options.writer),
      after_(TrainerWork::enqueued_on(env_, MUTATE("save.after_ignored", options.after, std::nullopt))),
      hooks_wait_(options.planner || options.writer) {
  if (options.enable_plan_caching && !options.planner && !options.writer) cache_ = session.plan_cache();
  if (writer_) return;
  const bool to_device = options.snapshot == Snapshot::device;
  own_ = std::make_shared<SegmentWriter>(
      env_, session.staging(),
      SegmentWriterOptions{.step = options.step,
                           .block_bytes = options.block_bytes,
                           .retention = options.retention,
                           .last_verified = session.last_verified(),
                           .staging_budget_bytes = options.staging_budget_bytes,
                           .snapshot_bytes_max = to_device ? std::optional(options.snapshot_bytes_max) : std::nullopt,
                           .after = after_.value_or(TrainerWork())});
  writer_ = own_;
}

Checkpointed<void> SaveRun::plan(const StateDict& state, const Status& before) {
  comm_->begin(fmt::format("save step {}", step_));
  if (cache_) cache_->discard();  // what a save that did not succeed has proposed
  const auto reduce = [&](const std::vector<SharedBytes>& all) { return plan_globally(all); };
  const comm::Timetable times = comm_->schedule(end_);
  Result<SavePlan> local = before ? plan_locally(state, role_of(*comm_, times)) : fail(before.error());
  auto planned = comm_->agree(local ? Result<SharedBytes>(offer(*local)) : fail(local.error()), reduce, times);
  if (planned && wants_plans(*planned)) {
    planned = comm_->agree(offer_in_full(claim_.local, notes_, *local), reduce, comm_->schedule(end_));
  }
  // A rank that does not hear the end of this round writes nothing, so nothing can be committed: for it, too, the save failed.
  if (!planned) return tl::unexpected(to_error("plan", std::move(planned).error(), Outcome::failed));
  if (replicas_ != Replicas::trust) held_ = *local;
  if (const Status taken = take_reply(*std::move(local), *planned); !taken) writing_ = fail(taken.error());
  times_ = comm_->schedule(end_);
  return {};
}

Result<SavePlan> SaveRun::plan_locally(const StateDict& state, const Role& role) {
  env_.enter("2 plan");
  if (!after_) return fail(after_.error());
  TRY(writer_->reset());
  view_ = TRY(view_to_save(state, keys_, role.rank, role.world_size));
  TRY(planner_->set_up_planner(*view_.state, role.rank, role.is_coordinator));
  TRY(writer_->set_up_storage_writer(role));
  SavePlan plan = TRY(planner_->create_local_plan());
  return writer_->prepare_local_plan(std::move(plan));
}

/// What this rank tells beside its plan.
Bytes SaveRun::notes() const {
  SaveNotes notes{view_.renamed, view_.used, {}};
  if (structure_) {
    Structure named = *structure_;
    const std::map<std::string, std::string, std::less<>> names = names_by_key(view_);
    rename_entries(named, [&](std::string_view key) {
      const auto name = names.find(key);
      return std::string(name == names.end() ? key : name->second);
    });
    notes.structure = encode(named);
  }
  Encoder out;
  encode(out, notes);
  return out.take();
}

/// With the notes, and with the rules that they count, what the coordinator makes of local plans is a function of them.
plan::PlanContext SaveRun::context() const {
  std::vector<std::string> rules;
  for (std::size_t i = 0; i < keys_.size(); ++i) rules.push_back(keys_.rule_text(i));
  Encoder out;
  out.raw(notes_);
  encode(out, rules);
  return {comm_->world_size(), default_dedup, format::manifest_version, MUTATE("save.fingerprint_without_notes", out.take(), Bytes())};
}

SharedBytes SaveRun::offer(const SavePlan& local) {
  notes_ = notes();
  if (cache_) claim_ = cache_->claim(local, context());
  return claim_.plan == plan::Fingerprint() ? offer_in_full(claim_.local, notes_, local) : offer_claim(claim_);
}

Result<comm::Answer> SaveRun::plan_globally(const std::vector<SharedBytes>& contributions) {
  const PlanOffers offers = TRY(decode_plan_offers(contributions));
  if (offers.in_full) return plan_anew(offers);
  if (const plan::CachedPlan* cached = cache_ ? cache_->find_global(offers.claims) : nullptr) return plan_again(*cached);
  if (std::ranges::any_of(offers.claims, [](const plan::PlanClaim& claim) { return claim.plan == plan::Fingerprint(); })) {
    MARK("save.plan_kept_by_some");
  } else {
    MARK("save.plans_kept_do_not_fit");
  }
  return comm::Answer{encode(PlanAnswer{PlanForm::wanted, {}, {}}), {}};
}

Result<comm::Answer> SaveRun::plan_anew(const PlanOffers& offers) {
  TRY(check_origins(offers.notes, offers.local));
  plan::GlobalSavePlan global = TRY(planner_->create_global_plan(offers.local));
  metadata_ = std::move(global.metadata);
  TRY(add_structure(offers.notes));
  PlanAnswer told{PlanForm::anew, {}, unmatched_rules(offers.notes, keys_)};
  std::vector<plan::Fingerprint> fingerprints;
  for (const plan::PlanClaim& claim : offers.claims) fingerprints.push_back(claim.local);
  if (cache_ && std::ranges::find(fingerprints, plan::Fingerprint()) == fingerprints.end()) {
    told.id = plan::plan_id(fingerprints);
    cache_->propose_global(offers.local, std::move(fingerprints), {{global.plans, metadata_}, told.unmatched});
  }
  const std::vector<SavePlan> plans = TRY(writer_->prepare_global_plan(std::move(global.plans)));
  if (plans.size() != offers.local.size()) {
    return fail(ErrorCode::invalid_argument, "plan: the planner returned {} plans for {} ranks", plans.size(), offers.local.size());
  }
  return comm::Answer{encode(told), plan::encode_replies(offers.local, plans)};
}

/// Of the plan that every rank claims nothing is made anew but what the writer adds to it: this attempt's ticket.
Result<comm::Answer> SaveRun::plan_again(const plan::CachedPlan& cached) {
  MARK("save.plan_cached");
  metadata_ = cached.plan.metadata;
  const std::vector<SavePlan> plans = TRY(writer_->prepare_global_plan(cached.plan.plans));
  return comm::Answer{encode(PlanAnswer{PlanForm::kept, {}, cached.warnings}), plan::encode_replies(cached.plan.plans, plans)};
}

/// What only the whole shows: values of single ranks that contradict each other, the nesting of all ranks' states.
Status SaveRun::add_structure(const std::vector<SaveNotes>& notes) {
  if (const auto values = rank_values_of(metadata_); !values)
    return fail(ErrorCode::invalid_argument, "plan save: {}", values.error().message);
  Bytes structure = TRY(merge_structures(notes));
  if (structure.empty()) return {};
  if (!metadata_.planner_data.empty())
    return fail(ErrorCode::invalid_argument,
                "plan save: the planner keeps data of its own where the structure of a nested state is stored");
  metadata_.planner_data = std::move(structure);
  return {};
}

Status SaveRun::take_reply(SavePlan local, const comm::Received& reply) {
  const PlanAnswer answer = TRY(decode_plan_answer(reply.common.view()));
  for (const std::string& rule : answer.unmatched) warnings_.push_back(fmt::format("{}: no key of any rank", rule));
  plan_was_cached_ = answer.form == PlanForm::kept;
  if (plan_was_cached_) local = TRY(claimed_plan());
  Decoder own(reply.own.view(), "plan reply");
  plan_ = TRY(plan::apply_kept(std::move(local), own));
  if (cache_ && answer.id != plan::Fingerprint()) {
    SavePlan mine = plan_;
    mine.storage_data.clear();  // the ticket is of this attempt alone
    cache_->propose(claim_.local, answer.id, std::move(mine));
  }
  plan_ = expand(std::move(plan_), comm_->rank());
  plan_ready_ = true;
  return {};
}

Result<SavePlan> SaveRun::claimed_plan() {
  const SavePlan* kept = cache_ ? cache_->find(claim_) : nullptr;
  if (!kept) return fail(ErrorCode::corrupt, "plan reply: this rank is to use a plan that it does not keep");
  return *kept;
}

void SaveRun::start_writing() {
  if (plan_ready_) writing_ = write();
  after_ = TrainerWork();  // who reads tensors from now on has it
}

Result<Writing> SaveRun::write() {
  if (hooks_wait_) TRY(after_->await(env_, times_->work()));
  SavePlan plan = TRY(planner_->finish_plan(std::move(plan_)));
  if (replicas_ != Replicas::trust) {
    env_.enter("3 snapshot");
    const Rank rank = comm_->rank();
    replica_digests_ = TRY(digest_held_boxes(env_, *after_, *planner_, expand(std::move(held_), rank), plan, times_->work()));
  }
  return writer_->write_data(std::move(plan), planner_);
}

Status SaveRun::staged() { return writing_ ? writing_->staged.get(times_->work()) : Status(fail(writing_.error())); }

void SaveRun::release() {
  if (writing_ && writing_->staged.pending()) env_.unfinished->add(std::move(writing_->staged));
  if (MUTATE("save.releases_early", true, false)) env_.unfinished->await(end_);
}

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
        cancelled = MUTATE("save.ignores_cancel", pending.cancelled, false);
        return cancelled || results->has_value();
      },
      times_->work()));
  if (!cancelled) return std::move(**results);
  MARK("save.cancelled");
  if (writing_->give_up) writing_->give_up();
  return fail(ErrorCode::aborted, "save step {}: cancelled on this rank", step_);
}

Result<SharedBytes> SaveRun::result_message(const Result<std::vector<WriteResult>>& results) const {
  if (!results) return fail(results.error());
  Encoder out;
  encode(out, replica_digests_);
  plan::encode(out, *results);
  return SharedBytes(out.take());
}

Result<comm::Answer> SaveRun::commit(const std::vector<SharedBytes>& contributions) {
  std::vector<std::vector<plan::HeldBox>> held;
  std::vector<std::vector<WriteResult>> results;
  for (const SharedBytes& bytes : contributions) {
    Decoder in(bytes.view(), "write results");
    held.push_back(TRY(decode_held_boxes(in)));
    results.push_back(TRY(plan::decode_write_results(in)));
  }
  const ReplicaVerdict verdict = TRY(compare(results, held));
  if (verdict.failures.empty()) TRY(writer_->finish(metadata_, results));
  Encoder out;
  encode(out, verdict);
  return comm::Answer{out.take(), {}};
}

Result<ReplicaVerdict> SaveRun::compare(const std::vector<std::vector<WriteResult>>& results,
                                        const std::vector<std::vector<plan::HeldBox>>& held) const {
  if (replicas_ == Replicas::trust) return ReplicaVerdict();
  std::vector<plan::WrittenChunk> written;
  for (std::size_t r = 0; r < results.size(); ++r) {
    const Rank rank{static_cast<std::int32_t>(r)};
    for (const WriteResult& result : results[r]) {
      const std::optional<TensorDigest> digest = TRY(writer_->written_digest(result, rank));
      if (digest && result.index.offset) written.push_back({result.index.fqn, *result.index.offset, *digest, rank});
    }
  }
  return judge_replicas(plan::compare_replicas(metadata_, written, held), replicas_);
}

Checkpointed<Saved> SaveRun::conclude(PendingState* pending) {
  Checkpointed<Saved> saved = write_round(pending);
  if (cache_ && MUTATE("save.keeps_plan_of_failed_save", saved.has_value(), true)) cache_->commit();
  return saved;
}

Checkpointed<Saved> SaveRun::write_round(PendingState* pending) {
  const Result<std::vector<WriteResult>> results = written(pending);
  env_.enter("5 agree");
  auto committed = comm_->agree(result_message(results), [&](std::vector<SharedBytes> all) { return commit(all); }, *times_);
  if (!committed) return tl::unexpected(to_error("write", std::move(committed).error(), Outcome::unknown));
  Decoder reply(committed->common.view(), "commit reply");
  Result<ReplicaVerdict> verdict = decode_replica_verdict(reply);
  if (!verdict) {
    FailureMap failures;
    failures.add(comm_->rank(), std::move(verdict).error());
    return tl::unexpected(CheckpointError{"write", Outcome::unknown, std::move(failures), {}});
  }
  if (!verdict->failures.empty()) return tl::unexpected(CheckpointError{"write", Outcome::failed, std::move(verdict->failures), {}});
  env_.enter("7 outcome");
  Saved saved;
  if (own_) saved = {own_->ticket().directory, own_->ticket().sequence, own_->warnings()};
  if (own_) saved.snapshot = own_->snapshot();
  saved.plan_was_cached = plan_was_cached_;
  std::ranges::move(warnings_, std::back_inserter(saved.warnings));
  std::ranges::move(verdict->warnings, std::back_inserter(saved.warnings));
  return saved;
}

}  // namespace holdfast::protocol
