#include "impl/protocol/load.h"

#include <algorithm>

#include "impl/core/mark.h"
#include "impl/plan/codec.h"
#include "impl/protocol/default_planner.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/round.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {
namespace {

/// The hooks of one attempt at a load on one rank.
struct Load {
  Session& session;
  StateDict& destination;
  std::shared_ptr<LoadPlanner> planner;
  std::shared_ptr<StorageReader> reader;
  Status before = {};  ///< what keeps this rank from taking part
  Metadata metadata = {};

  Result<LoadPlan> plan_locally(const Role& role);
  Result<comm::Answer> plan_globally(std::vector<SharedBytes> contributions);
  Status read(LoadPlan& plan, const Role& role);
};

Result<LoadPlan> Load::plan_locally(const Role& role) {
  session.env().enter("load plan");
  TRY(before);
  TRY(reader->reset());
  metadata = TRY(reader->read_metadata(role));
  TRY(planner->set_up_planner(destination, metadata, role.is_coordinator));
  TRY(reader->set_up_storage_reader(metadata, role));
  LoadPlan plan = TRY(planner->create_local_plan());
  return reader->prepare_local_plan(std::move(plan));
}

Result<comm::Answer> Load::plan_globally(std::vector<SharedBytes> contributions) {
  std::vector<LoadPlan> local;
  for (const SharedBytes& bytes : contributions) {
    Decoder in(bytes.view(), "load plan");
    local.push_back(TRY(plan::decode_load_plan(in)));
  }
  const std::vector<LoadPlan> plans = TRY(reader->prepare_global_plan(TRY(planner->create_global_plan(local))));
  if (plans.size() != local.size()) {
    return fail(ErrorCode::invalid_argument, "plan: the planner returned {} plans for {} ranks", plans.size(), local.size());
  }
  comm::Answer answer;
  for (std::size_t r = 0; r < plans.size(); ++r) {
    Encoder out;
    out.u8(plans[r] == local[r] ? 1 : 0);  // most plans come back as they went
    if (plans[r] != local[r]) plan::encode(out, plans[r]);
    answer.by_rank.emplace_back(out.take());
  }
  return answer;
}

Status Load::read(LoadPlan& plan, const Role& role) {
  session.env().enter("load read");
  plan = TRY(planner->finish_plan(std::move(plan)));
  auto reading = TRY(reader->read_data(std::move(plan), planner));
  return reading.get(role.work);
}

Result<SharedBytes> encoded(const Result<LoadPlan>& plan) {
  if (!plan) return fail(plan.error());
  Encoder out;
  plan::encode(out, *plan);
  return SharedBytes(out.take());
}

Result<LoadPlan> apply_reply(LoadPlan local, ByteView reply) {
  Decoder in(reply, "plan reply");
  if (TRY(in.u8()) == 1) return local;
  return plan::decode_load_plan(in);
}

Result<SharedBytes> as_contribution(const Status& status) {
  if (!status) return fail(status.error());
  return SharedBytes();
}

/// One attempt: the rounds plan, read and place.
Checkpointed<void> run(Load& load, port::Deadline end) {
  comm::Comm& comm = load.session.comm();
  const auto nothing = [](std::vector<SharedBytes>) { return nothing_to_say(); };

  const comm::Timetable plan_times = comm.schedule(end);
  Result<LoadPlan> local = load.plan_locally(role_of(comm, plan_times));
  auto planned = comm.agree(encoded(local), [&](std::vector<SharedBytes> all) { return load.plan_globally(std::move(all)); }, plan_times);
  if (!planned) return tl::unexpected(to_error("plan", std::move(planned).error(), Outcome::failed));

  const comm::Timetable read_times = comm.schedule(end);
  Result<LoadPlan> plan = apply_reply(*std::move(local), planned->own.view());
  const Status read = plan ? load.read(*plan, role_of(comm, read_times)) : fail(plan.error());
  auto all_read = comm.agree(as_contribution(read), nothing, read_times);
  if (!all_read) return tl::unexpected(to_error("read", std::move(all_read).error(), Outcome::failed));

  const comm::Timetable place_times = comm.schedule(end);
  load.session.env().enter("load place");
  const Status placed = load.planner->place(load.session.env(), place_times.work());
  auto all_placed = comm.agree(as_contribution(placed), nothing, place_times);
  if (!all_placed) return tl::unexpected(to_error("place", std::move(all_placed).error(), Outcome::unknown));
  return {};
}

/// The coordinator's choice: committed checkpoints, newest first, and what is already known to be damaged.
struct Choice {
  std::vector<std::string> directories;
  std::vector<std::string> damaged;
};

Result<comm::Answer> choose(Session& session, port::Deadline deadline) {
  const Survey found = TRY(survey(session.env().storage, deadline));
  if (found.committed.empty() && found.damaged.empty()) return fail(ErrorCode::not_found, "load: there is no checkpoint");
  Encoder out;
  out.varint(found.committed.size());
  for (const CommittedAttempt& attempt : found.committed) out.text(attempt.directory);
  out.varint(found.damaged.size());
  for (const DamagedAttempt& attempt : found.damaged) out.text(fmt::format("{}: {}", attempt.directory, attempt.error));
  return comm::Answer{out.take(), {}};
}

Result<Choice> decode_choice(ByteView bytes) {
  Decoder in(bytes, "choice");
  Choice choice;
  for (std::vector<std::string>* list : {&choice.directories, &choice.damaged}) {
    list->resize(TRY(in.count(1)));
    for (std::string& text : *list) text = TRY(in.text());
  }
  TRY(in.finish());
  return choice;
}

Checkpointed<Choice> agree_on_choice(Session& session, const LoadOptions& options, const Status& before, port::Deadline end) {
  if (options.directory) return Choice{{*options.directory}, {}};
  comm::Comm& comm = session.comm();
  session.env().enter("load choose");
  const comm::Timetable times = comm.schedule(end);
  auto chosen = comm.agree(as_contribution(before), [&](std::vector<SharedBytes>) { return choose(session, times.reduce()); }, times);
  if (!chosen) return tl::unexpected(to_error("choose", std::move(chosen).error(), Outcome::failed));
  Result<Choice> choice = decode_choice(chosen->common.view());
  if (choice) return *std::move(choice);
  FailureMap failures;
  failures.add(comm.rank(), std::move(choice).error());
  return tl::unexpected(CheckpointError{"choose", Outcome::failed, std::move(failures), {}});
}

/// Nothing but damage to this checkpoint: an older one may still serve.
bool is_damage(const CheckpointError& error) {
  const auto damage = [](const FailureMap::Group& group) { return group.error.code == ErrorCode::corrupt; };
  return error.lost.empty() && error.step != "place" && !error.failures.empty() && std::ranges::all_of(error.failures.groups(), damage);
}

std::shared_ptr<LoadPlanner> planner_of(const LoadOptions& options) {
  return options.planner ? options.planner : std::make_shared<DefaultLoadPlanner>(options.plan);
}

/// Tries the committed checkpoints, newest first. Every rank sees the same errors, hence goes the same way.
Checkpointed<Loaded> load_newest_intact(Session& session, StateDict& destination, const LoadOptions& options, const Status& before,
                                        port::Deadline end) {
  Checkpointed<Choice> choice = agree_on_choice(session, options, before, end);
  if (!choice) return tl::unexpected(std::move(choice).error());
  Loaded loaded;
  loaded.skipped = choice->damaged;
  for (const std::string& directory : choice->directories) {
    const auto reader = std::make_shared<SegmentReader>(session.env(), session.staging(), directory, options.reading);
    Load hooks{session, destination, planner_of(options), reader, before};
    Checkpointed<void> done = run(hooks, end);
    if (done) {
      loaded.directory = directory;
      loaded.volume = reader->volume();
      if (const auto id = plan::parse_directory_name(directory)) session.verified(*id);
      return loaded;
    }
    if (options.directory || !is_damage(done.error())) return tl::unexpected(std::move(done).error());
    MARK("load.fell_back");
    loaded.skipped.push_back(fmt::format("{}: {}", directory, to_string(done.error())));
  }
  FailureMap failures;
  failures.add(session.comm().coordinator(), error(ErrorCode::corrupt, "load: none of {} checkpoints is intact: {}", loaded.skipped.size(),
                                                   fmt::join(loaded.skipped, "; ")));
  return tl::unexpected(CheckpointError{"choose", Outcome::failed, std::move(failures), {}});
}

Checkpointed<Loaded> load_with_reader(Session& session, StateDict& destination, const LoadOptions& options, const Status& before,
                                      port::Deadline end) {
  Load hooks{session, destination, planner_of(options), options.reader, before};
  if (auto done = run(hooks, end); !done) return tl::unexpected(std::move(done).error());
  return Loaded{};
}

}  // namespace

Checkpointed<Loaded> load(Session& session, StateDict& destination, const LoadOptions& options) {
  const port::Deadline end = session.env().clock.after(options.deadline);
  const Checkpointed<Status> before = settle(session, end);
  if (!before) return tl::unexpected(before.error());
  session.comm().begin("load");
  const auto how = options.reader ? load_with_reader : load_newest_intact;
  Checkpointed<Loaded> loaded = how(session, destination, options, *before, end);
  session.staging()->trim(options.staging_keep_bytes);
  return loaded;
}

}  // namespace holdfast::protocol
