#include "impl/protocol/save.h"

#include <optional>

#include "impl/plan/codec.h"
#include "impl/protocol/default_planner.h"
#include "impl/protocol/round.h"

namespace holdfast::protocol {
namespace {

/// The hooks of one save on one rank.
struct Save {
  Session& session;
  const StateDict& state;
  std::shared_ptr<SavePlanner> planner;
  std::shared_ptr<StorageWriter> writer;
  Metadata metadata;  // on the coordinator, between the rounds

  Result<SavePlan> plan_locally(const Role& role);
  Result<comm::Answer> plan_globally(std::vector<SharedBytes> contributions);
  Result<std::vector<WriteResult>> write(SavePlan& plan, const Role& role);
  Result<comm::Answer> commit(const std::vector<SharedBytes>& contributions);
};

Result<SavePlan> Save::plan_locally(const Role& role) {
  session.env().enter("2 plan");
  TRY(writer->reset());
  TRY(planner->set_up_planner(state, role.is_coordinator));
  TRY(writer->set_up_storage_writer(role));
  SavePlan plan = TRY(planner->create_local_plan());
  return writer->prepare_local_plan(std::move(plan));
}

Result<comm::Answer> Save::plan_globally(std::vector<SharedBytes> contributions) {
  std::vector<SavePlan> local;
  for (const SharedBytes& bytes : contributions) {
    Decoder in(bytes.view(), "save plan");
    local.push_back(TRY(plan::decode_save_plan(in)));
  }
  plan::GlobalSavePlan global = TRY(planner->create_global_plan(local));
  metadata = std::move(global.metadata);
  const std::vector<SavePlan> plans = TRY(writer->prepare_global_plan(std::move(global.plans)));
  if (plans.size() != local.size()) {
    return fail(ErrorCode::invalid_argument, "plan: the planner returned {} plans for {} ranks", plans.size(), local.size());
  }
  comm::Answer answer;
  for (std::size_t r = 0; r < plans.size(); ++r) {
    Encoder out;
    plan::encode_kept(out, local[r], plans[r]);
    answer.by_rank.emplace_back(out.take());
  }
  return answer;
}

Result<std::vector<WriteResult>> Save::write(SavePlan& plan, const Role& role) {
  plan = TRY(planner->finish_plan(std::move(plan)));
  Writing writing = TRY(writer->write_data(std::move(plan), planner));
  const Status staged = writing.staged.get(role.work);
  Result<std::vector<WriteResult>> written = writing.written.get(role.work);
  if (!staged && written) return fail(staged.error());
  return written;
}

Result<comm::Answer> Save::commit(const std::vector<SharedBytes>& contributions) {
  std::vector<std::vector<WriteResult>> results;
  for (const SharedBytes& bytes : contributions) {
    Decoder in(bytes.view(), "write results");
    results.push_back(TRY(plan::decode_write_results(in)));
  }
  TRY(writer->finish(metadata, results));
  return nothing_to_say();
}

Result<SharedBytes> encoded(const Result<SavePlan>& plan) {
  if (!plan) return fail(plan.error());
  Encoder out;
  plan::encode(out, *plan);
  return SharedBytes(out.take());
}

Result<SharedBytes> encoded(const Result<std::vector<WriteResult>>& results) {
  if (!results) return fail(results.error());
  Encoder out;
  plan::encode(out, *results);
  return SharedBytes(out.take());
}

/// Both rounds. A rank that does not hear the end of the plan round writes nothing, so nothing can be committed: for it, too, the save failed.
Checkpointed<void> run(Save& save, port::Deadline end) {
  comm::Comm& comm = save.session.comm();
  comm.begin();

  const comm::Timetable plan_times = comm.schedule(end);
  Result<SavePlan> local = save.plan_locally(role_of(comm, plan_times));
  auto planned = comm.agree(encoded(local), [&](std::vector<SharedBytes> all) { return save.plan_globally(std::move(all)); }, plan_times);
  if (!planned) return tl::unexpected(to_error("plan", std::move(planned).error(), Outcome::failed));

  const comm::Timetable write_times = comm.schedule(end);
  const Role role = role_of(comm, write_times);
  Decoder reply(planned->own.view(), "plan reply");
  Result<SavePlan> plan = plan::apply_kept(*std::move(local), reply);
  const Result<std::vector<WriteResult>> results = plan ? save.write(*plan, role) : fail(plan.error());
  save.session.env().enter("5 agree");
  auto committed = comm.agree(encoded(results), [&](std::vector<SharedBytes> all) { return save.commit(all); }, write_times);
  if (!committed) return tl::unexpected(to_error("write", std::move(committed).error(), Outcome::unknown));
  save.session.env().enter("7 outcome");
  return {};
}

}  // namespace

Checkpointed<Saved> save(Session& session, const StateDict& state, const SaveOptions& options) {
  const port::Deadline end = session.env().clock.after(options.deadline);
  std::shared_ptr<SegmentWriter> own;
  if (!options.writer) {
    own = std::make_shared<SegmentWriter>(
        session.env(), session.staging(),
        SegmentWriterOptions{options.step, options.block_bytes, options.retention, session.last_verified(), options.staging_budget_bytes});
  }
  Save hooks{session, state, options.planner, own ? own : options.writer, {}};
  if (!hooks.planner) hooks.planner = std::make_shared<DefaultSavePlanner>();
  if (auto done = run(hooks, end); !done) return tl::unexpected(std::move(done).error());
  if (!own) return Saved{};
  return Saved{own->ticket().directory, own->ticket().sequence, own->warnings()};
}

}  // namespace holdfast::protocol
