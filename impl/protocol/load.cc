#include "impl/protocol/load.h"

#include <algorithm>
#include <functional>
#include <set>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/plan/codec.h"
#include "impl/protocol/default_planner.h"
#include "impl/protocol/exchange_causes.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/round.h"
#include "impl/protocol/state_view.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {
namespace {

/// What is filled: the caller's state dict, or one that is made from what the checkpoint holds.
struct Destination {
  std::function<Result<StateDict*>(const Metadata& metadata, const Role& role)> make;
  bool is_new = false;  ///< another one at each attempt: nothing of a damaged checkpoint stays in it
};

/// What a streamed load of a damaged checkpoint may have left values in.
struct Touched {
  std::string directory = {};
  std::set<std::string> keys = {};  ///< of tensors: byte values are replaced last
};

std::set<std::string> tensor_keys(const LoadPlan& plan) {
  std::set<std::string> keys;
  for (const ReadItem& item : plan.items) {
    if (item.type != ReadItemType::bytes) keys.insert(item.dest_index.fqn);
  }
  return keys;
}

/// How a rank comes into a load.
struct Start {
  Status before;      ///< what keeps it from taking part
  TrainerWork after;  ///< before its destination is written to
};

/// The hooks of one attempt at a load on one rank.
struct Load {
  Session& session;
  const LoadOptions& options;
  const Destination& destination;
  std::shared_ptr<LoadPlanner> planner;
  std::shared_ptr<StorageReader> reader;
  const Start& start;
  Metadata metadata = {};
  StateDict* filled = nullptr;
  LoadView view = {};  ///< of what is filled, as the planner sees it
  KeyReport report = {};
  Touched touched = {};
  SegmentReader* sharing = nullptr;  ///< `reader`, of ranks that share what they read

  Status check_streaming() const;
  bool may_leave_values() const { return options.reading.mode == LoadMode::streamed && !destination.is_new; }
  Status check_touched(const LoadPlan& plan) const;
  Result<LoadPlan> plan_locally(const Role& role);
  Result<SharedBytes> plan_message(const Result<LoadPlan>& plan) const;
  Result<comm::Answer> plan_globally(std::vector<SharedBytes> contributions);
  Status check(const KeyReport& found) const;
  Result<LoadPlan> take_reply(LoadPlan local, const comm::Received& reply);
  Status read(LoadPlan& plan, const Role& role);
  Result<SharedBytes> exchange(port::Deadline deadline);
  Status place(port::Deadline deadline);
};

Status Load::check_streaming() const {
  if (options.reading.mode != LoadMode::streamed) return {};
  if (options.reader) return fail(ErrorCode::invalid_argument, "plan load: LoadMode::streamed, with a reader that is not ours to tell");
  if (planner->takes_parts()) return {};
  return fail(ErrorCode::invalid_argument, "plan load: LoadMode::streamed, with a planner that takes whole items only");
}

/// What was touched must be replaced.
Status Load::check_touched(const LoadPlan& plan) const {
  if (touched.keys.empty()) return {};
  const std::set<std::string> replaced = tensor_keys(plan);
  for (const std::string& key : touched.keys) {
    if (MUTATE("load.leave_touched", replaced.contains(key), true)) continue;
    MARK("load.would_leave_values");
    return fail(ErrorCode::invalid_argument,
                "plan load: \"{}\" may hold values of {}, which is damaged, and the checkpoint before has none for it; a load with "
                "LoadMode::all_or_nothing can fall back here",
                key, touched.directory);
  }
  return {};
}

Result<LoadPlan> Load::plan_locally(const Role& role) {
  session.env().enter("load plan");
  TRY(start.before);
  TRY(check_streaming());
  TRY(reader->reset());
  metadata = TRY(reader->read_metadata(role));
  filled = TRY(destination.make(metadata, role));
  view = TRY(view_to_load(*filled, metadata, options.keys, options.only, role.rank, role.world_size));
  TRY(planner->set_up_planner(*view.state, metadata, role.is_coordinator));
  TRY(reader->set_up_storage_reader(metadata, role));
  LoadPlan plan = TRY(planner->create_local_plan());
  TRY(check_touched(plan));
  return reader->prepare_local_plan(std::move(plan));
}

/// What goes up: the notes, then the plan.
Result<SharedBytes> Load::plan_message(const Result<LoadPlan>& plan) const {
  if (!plan) return fail(plan.error());
  Encoder out;
  encode(out, view.notes);
  plan::encode(out, *plan);
  return SharedBytes(out.take());
}

Result<comm::Answer> Load::plan_globally(std::vector<SharedBytes> contributions) {
  std::vector<KeyNotes> notes;
  std::vector<LoadPlan> local;
  for (const SharedBytes& bytes : contributions) {
    Decoder in(bytes.view(), "load plan");
    notes.push_back(TRY(decode_key_notes(in, metadata.entries.size())));
    local.push_back(TRY(plan::decode_load_plan(in)));
  }
  const KeyReport found = TRY(add_up(notes, metadata, options.keys, options.only));
  TRY(check(found));
  const std::vector<LoadPlan> plans = TRY(reader->prepare_global_plan(TRY(planner->create_global_plan(local))));
  if (plans.size() != local.size()) {
    return fail(ErrorCode::invalid_argument, "plan: the planner returned {} plans for {} ranks", plans.size(), local.size());
  }
  const plan::SharedReads shared = sharing ? TRY(sharing->share(plans)) : plan::SharedReads();
  const std::vector<plan::SharedReads> parts = plan::parts_of(shared, plans.size());
  comm::Answer answer;
  Encoder common;
  encode(common, found);
  common.u8(sharing ? 1 : 0);
  common.varint(shared.steps);
  common.varint(shared.steps == 0 ? 0 : session.take_exchanges(shared.steps));
  answer.common = common.take();
  for (std::size_t r = 0; r < plans.size(); ++r) {
    Encoder out;
    out.u8(plans[r] == local[r] ? 1 : 0);  // most plans come back as they went
    if (plans[r] != local[r]) plan::encode(out, plans[r]);
    if (shared.steps != 0) plan::encode(out, parts[r]);
    answer.by_rank.emplace_back(out.take());
  }
  return answer;
}

/// What is refused of the load as a whole.
Status Load::check(const KeyReport& found) const {
  const auto told = [](const std::vector<std::string>& keys) { return fmt::format("\"{}\"", fmt::join(keys, "\", \"")); };
  if (options.all_of_checkpoint && !found.unexpected.empty())
    return fail(ErrorCode::invalid_argument, "plan load: no rank has a place for {}, which the checkpoint holds", told(found.unexpected));
  std::vector<std::string> absent;
  for (const std::string& key : options.only.keys) {
    if (std::ranges::binary_search(found.unmatched, fmt::format("select key \"{}\"", key))) absent.push_back(key);
  }
  if (options.plan.strict && !absent.empty())
    return fail(ErrorCode::invalid_argument, "plan load: no rank has a place for {}, which are asked for by name", told(absent));
  return {};
}

Result<LoadPlan> Load::take_reply(LoadPlan local, const comm::Received& reply) {
  Decoder common(reply.common.view(), "plan reply");
  report = TRY(decode_key_report(common));
  const bool coordinator_shares = TRY(common.u8()) == 1;
  const std::uint64_t steps = TRY(common.varint());
  const std::uint64_t first_exchange = TRY(common.varint());
  if (coordinator_shares != (sharing != nullptr)) {
    return fail(ErrorCode::invalid_argument, "plan load: LoadOptions::share_reads is {} here, and {} on the coordinator",
                sharing != nullptr, coordinator_shares);
  }
  Decoder own(reply.own.view(), "plan reply");
  if (TRY(own.u8()) != 1) local = TRY(plan::decode_load_plan(own));
  if (steps != 0) {
    plan::SharedReads part = TRY(plan::decode_shared_reads(own));
    if (part.steps > steps)
      return fail(ErrorCode::invalid_argument, "plan load: this rank shares in {} steps, the job in {}", part.steps, steps);
    sharing->take_part(session, {std::move(part), first_exchange});
  }
  TRY(common.finish());
  TRY(own.finish());
  return local;
}

Status Load::place(port::Deadline deadline) {
  session.env().enter("load place");
  if (options.planner) TRY(start.after.await(session.env(), deadline));
  TRY(planner->place(session.env(), deadline));
  view.put_back(*filled);
  return {};
}

Status Load::read(LoadPlan& plan, const Role& role) {
  session.env().enter("load read");
  plan = TRY(planner->finish_plan(std::move(plan)));
  if (may_leave_values()) touched.keys.merge(tensor_keys(plan));
  if (options.planner && options.reading.mode == LoadMode::streamed) TRY(start.after.await(session.env(), role.work));
  // A reading that is given up goes on, and with it what the planner may still look at.
  const auto held = std::make_shared<std::pair<std::shared_ptr<LoadPlanner>, std::shared_ptr<StateDict>>>(planner, view.own);
  auto reading = TRY(reader->read_data(std::move(plan), std::shared_ptr<LoadPlanner>(held, planner.get())));
  return reading.get(role.work);
}

/// What the data plane did to this rank goes up: perhaps a consequence of another's failure.
Result<SharedBytes> Load::exchange(port::Deadline deadline) {
  session.env().enter("load exchange");
  const FailureMap exchanged = TRY(sharing->exchange(*planner, deadline));
  Encoder out;
  exchanged.encode(out);
  return SharedBytes(out.take());
}

/// A message that cannot be read is no damage of the checkpoint, and no reason to load another.
template <typename T>
Result<T> of_message(Result<T> decoded) {
  if (!decoded && decoded.error().code == ErrorCode::corrupt) decoded.error().code = ErrorCode::io_error;
  return decoded;
}

Result<comm::Answer> judge_exchanges(const std::vector<SharedBytes>& messages) {
  std::vector<FailureMap> exchanges;
  for (std::size_t r = 0; r < messages.size(); ++r) {
    Decoder in(messages[r].view(), "load exchange");
    const FailureMap told = TRY(of_message(FailureMap::decode(in)));
    TRY(of_message(in.finish()));
    const Rank rank{static_cast<std::int32_t>(r)};
    FailureMap& own = exchanges.emplace_back();  // a rank speaks for itself alone
    if (const Error* const failed = told.find(rank)) own.add(rank, *failed);
  }
  Encoder out;
  causes_of(exchanges).encode(out);
  return comm::Answer{out.take(), {}};
}

Result<SharedBytes> as_contribution(const Status& status) {
  if (!status) return fail(status.error());
  return SharedBytes();
}

/// The round in which ranks that share what they read send it to one another.
Checkpointed<void> exchange(Load& load, port::Deadline end) {
  comm::Comm& comm = load.session.comm();
  const comm::Timetable times = comm.schedule(end);
  auto exchanged = comm.agree(load.exchange(times.work()), [](std::vector<SharedBytes> all) { return judge_exchanges(all); }, times);
  if (!exchanged) return tl::unexpected(to_error("read", std::move(exchanged).error(), Outcome::failed));
  Decoder in(exchanged->common.view(), "load exchange");
  Result<FailureMap> verdict = of_message(FailureMap::decode(in));
  FailureMap failures;
  if (!verdict) failures.add(comm.rank(), std::move(verdict).error());
  if (verdict) failures = *std::move(verdict);
  if (failures.empty()) return {};
  return tl::unexpected(CheckpointError{"read", Outcome::failed, std::move(failures), {}});
}

/// One attempt: the rounds plan, read, with what is shared once more, and place.
Checkpointed<void> run(Load& load, port::Deadline end) {
  comm::Comm& comm = load.session.comm();
  const auto nothing = [](std::vector<SharedBytes>) { return nothing_to_say(); };

  const comm::Timetable plan_times = comm.schedule(end);
  Result<LoadPlan> local = load.plan_locally(role_of(comm, plan_times));
  auto planned =
      comm.agree(load.plan_message(local), [&](std::vector<SharedBytes> all) { return load.plan_globally(std::move(all)); }, plan_times);
  if (!planned) return tl::unexpected(to_error("plan", std::move(planned).error(), Outcome::failed));

  const comm::Timetable read_times = comm.schedule(end);
  Result<LoadPlan> plan = load.take_reply(*std::move(local), *planned);
  const Status read = plan ? load.read(*plan, role_of(comm, read_times)) : fail(plan.error());
  auto all_read = comm.agree(as_contribution(read), nothing, read_times);
  if (!all_read) return tl::unexpected(to_error("read", std::move(all_read).error(), Outcome::failed));

  if (load.sharing && load.sharing->shares()) {
    if (auto exchanged = exchange(load, end); !exchanged) return exchanged;
  }

  const comm::Timetable place_times = comm.schedule(end);
  const Status placed = load.place(place_times.work());
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

Checkpointed<Choice> agree_on_choice(Session& session, const LoadOptions& options, const Start& start, port::Deadline end) {
  if (options.directory) return Choice{{*options.directory}, {}};
  comm::Comm& comm = session.comm();
  session.env().enter("load choose");
  const comm::Timetable times = comm.schedule(end);
  auto chosen = comm.agree(as_contribution(start.before), [&](std::vector<SharedBytes>) { return choose(session, times.reduce()); }, times);
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

std::shared_ptr<LoadPlanner> planner_of(const LoadOptions& options, const Start& start) {
  if (options.planner) return options.planner;
  return std::make_shared<DefaultLoadPlanner>(options.plan, DefaultLoadPlanner::place_alone_bytes, start.after);
}

/// Tries the committed checkpoints, newest first. Every rank sees the same errors, hence goes the same way.
Checkpointed<Loaded> load_newest_intact(Session& session, const Destination& destination, const LoadOptions& options, const Start& start,
                                        port::Deadline end) {
  Checkpointed<Choice> choice = agree_on_choice(session, options, start, end);
  if (!choice) return tl::unexpected(std::move(choice).error());
  Loaded loaded;
  loaded.skipped = choice->damaged;
  Touched touched;
  for (const std::string& directory : choice->directories) {
    const auto reader = std::make_shared<SegmentReader>(session.env(), session.staging(), directory, options.reading);
    Load hooks{session, options, destination, planner_of(options, start), reader, start};
    hooks.touched = std::move(touched);
    if (options.share_reads && !options.planner && session.comm().world_size() > 1) hooks.sharing = reader.get();
    Checkpointed<void> done = run(hooks, end);
    if (auto memory = reader->left_in_use()) session.retain(std::move(memory));
    if (done) {
      loaded.directory = directory;
      loaded.volume = reader->volume();
      loaded.keys = std::move(hooks.report);
      if (const auto id = plan::parse_directory_name(directory)) session.verified(*id);
      return loaded;
    }
    if (options.directory || !is_damage(done.error())) return tl::unexpected(std::move(done).error());
    MARK("load.fell_back");
    touched = {directory, std::move(hooks.touched.keys)};
    loaded.skipped.push_back(fmt::format("{}: {}", directory, to_string(done.error())));
  }
  FailureMap failures;
  failures.add(session.comm().coordinator(), error(ErrorCode::corrupt, "load: none of {} checkpoints is intact: {}", loaded.skipped.size(),
                                                   fmt::join(loaded.skipped, "; ")));
  return tl::unexpected(CheckpointError{"choose", Outcome::failed, std::move(failures), {}});
}

Checkpointed<Loaded> load_with_reader(Session& session, const Destination& destination, const LoadOptions& options, const Start& start,
                                      port::Deadline end) {
  Load hooks{session, options, destination, planner_of(options, start), options.reader, start};
  if (auto done = run(hooks, end); !done) return tl::unexpected(std::move(done).error());
  Loaded loaded;
  loaded.keys = std::move(hooks.report);
  return loaded;
}

Checkpointed<Loaded> load_into(Session& session, const Destination& destination, const LoadOptions& options) {
  const port::Deadline end = session.env().clock.after(options.deadline);
  const Result<TrainerWork> after = TrainerWork::enqueued_on(session.env(), MUTATE("load.after_ignored", options.after, std::nullopt));
  const Checkpointed<Status> before = settle(session, end);
  if (!before) return tl::unexpected(before.error());
  session.comm().begin("load");
  Start start{*before, after.value_or(TrainerWork())};
  if (start.before && !after) start.before = fail(after.error());
  const auto how = options.reader ? load_with_reader : load_newest_intact;
  Checkpointed<Loaded> loaded = how(session, destination, options, start, end);
  if (!loaded) session.unfinished().await(end);
  session.staging()->trim(options.staging_keep_bytes);
  return loaded;
}

}  // namespace

Checkpointed<Loaded> load(Session& session, StateDict& destination, const LoadOptions& options) {
  return load_into(session, {[&](const Metadata&, const Role&) -> Result<StateDict*> { return &destination; }}, options);
}

Checkpointed<NewlyLoaded> load_new(Session& session, const NewStateOptions& made, const LoadOptions& options) {
  NewlyLoaded loaded;
  const auto drop_state = [&] {
    // A device, or a task that places, may still write there.
    if (!session.unfinished().empty())
      session.retain(std::make_shared<std::vector<std::shared_ptr<std::byte[]>>>(std::move(loaded.made.memory)));
    loaded.made = {};
  };
  const auto make = [&](const Metadata& metadata, const Role& role) -> Result<StateDict*> {
    if (!options.keys.empty())
      return fail(ErrorCode::invalid_argument, "plan load: LoadOptions::keys renames the keys of a destination; load_new() has none yet");
    drop_state();  // of a checkpoint that turned out to be damaged
    loaded.made = TRY(make_state(metadata, options.only, made, role.rank, role.world_size));
    return &loaded.made.state;
  };
  LoadOptions how = options;
  if (!how.reader && !how.planner) how.reading.mode = LoadMode::streamed;
  Checkpointed<Loaded> done = load_into(session, {make, true}, how);
  if (!done) {
    drop_state();
    return tl::unexpected(std::move(done).error());
  }
  loaded.loaded = *std::move(done);
  return loaded;
}

}  // namespace holdfast::protocol
