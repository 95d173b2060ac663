#include "properties/workload/two_jobs.h"

#include <algorithm>
#include <set>

#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/protocol/recover.h"
#include "properties/workload/job_doors.h"
#include "properties/workload/judge.h"
#include "properties/workload/save_workload.h"
#include "sim/judge.h"

namespace holdfast::properties {
namespace {

constexpr std::size_t versions = 5;
constexpr int recoveries_max = 3;  // of the new job

void add(Verdict& verdict, std::string_view property, std::string message) {
  verdict.push_back({VerdictClass::safety, std::string(property), std::move(message)});
}

std::uint32_t number_of(const std::string& directory) {
  const auto id = plan::parse_directory_name(directory);
  return id ? id->attempt : 0;
}

}  // namespace

TwoJobs::TwoJobs(TwoJobsOptions options) : options_(std::move(options)) {
  for (std::uint64_t version = 0; version < versions; ++version) values_.push_back(make_values(options_.old_job, version + 1));
}

Step TwoJobs::step_of(Version version) const {
  switch (version) {
    case Version::before: return Step{100};
    case Version::old_jobs: return Step{200};
    case Version::new_first: return options_.new_step;
    case Version::new_second: return Step{300};
    default: return Step{400};
  }
}

sim::Disk TwoJobs::prepare() {
  return storage_with_checkpoint(options_.old_job, values_[0], options_.old_coordinator,
                                 {.step = step_of(Version::before), .block_bytes = options_.block_bytes});
}

void TwoJobs::begin() {
  const auto old_ranks = static_cast<std::size_t>(options_.old_job.world_size);
  const auto new_ranks = static_cast<std::size_t>(options_.new_job.world_size);
  states_.assign(versions, {});
  for (auto& states : states_) states = std::vector<gen::RankState>(std::max(old_ranks, new_ranks));
  old_saves_.assign(old_ranks, std::nullopt);
  first_saves_.assign(new_ranks, std::nullopt);
  second_saves_.assign(new_ranks, std::nullopt);
  new_loads_.assign(new_ranks, {});
  last_loads_.assign(new_ranks, {});
  kept_.assign(new_ranks, {});
  last_errors_.assign(new_ranks, "it did not finish");
}

std::vector<sim::Stop> TwoJobs::stops(Rank stopped, std::uint32_t at, Rank witness, std::uint32_t until) const {
  const Rank first_new{options_.old_job.world_size};
  std::vector<sim::Stop> all{{{stopped, at}, {Rank{first_new.value + witness.value}, until}}};
  for (int r = 0; r < options_.new_job.world_size; ++r) all.push_back({{Rank{first_new.value + r}, 0}, {stopped, at}});
  return all;
}

void TwoJobs::act(const port::Env& env, Rank rank) {
  const int old_ranks = options_.old_job.world_size;
  const bool is_old = rank.value < old_ranks;
  const JobDoors doors(env, is_old ? JobRanks{0, old_ranks} : JobRanks{old_ranks, options_.new_job.world_size});
  is_old ? save_as_old_job(doors.env(), doors.rank()) : live_as_new_job(doors.env(), doors.rank());
}

protocol::Checkpointed<protocol::Saved> TwoJobs::save(protocol::Session& session, const gen::StateSpec& spec, Rank rank, Version version) {
  // Outlives the call: a device may be stuck with it.
  gen::RankState& state = states_[static_cast<std::size_t>(version)][static_cast<std::size_t>(rank.value)];
  state = make_state(spec, rank, values_[static_cast<std::size_t>(version)]);
  auto saved = protocol::save(session, state.dict,
                              {.step = step_of(version),
                               .deadline = options_.deadline,
                               .block_bytes = options_.block_bytes,
                               .retention = {.keep_last = options_.keep_last}});
  if (session.unfinished().empty()) state = {};
  return saved;
}

void TwoJobs::save_as_old_job(const port::Env& env, Rank rank) {
  protocol::Session session(env, {.coordinator = options_.old_coordinator});
  old_saves_[static_cast<std::size_t>(rank.value)] = save(session, options_.old_job, rank, Version::old_jobs);
}

void TwoJobs::live_as_new_job(const port::Env& env, Rank rank) {
  const auto r = static_cast<std::size_t>(rank.value);
  env.clock.sleep_until(env.clock.now() + options_.pause);
  protocol::Session session(env, {.coordinator = options_.new_coordinator});
  // The old job may be alive and in its way: whoever restarts a job cannot know.
  bool recovered = false;
  for (int i = 0; i < recoveries_max && !recovered; ++i)
    recovered = protocol::recover(session, {.deadline = options_.deadline}).has_value();
  if (!recovered) return;
  new_loads_[r].push_back(load(session, rank, {}));
  if (!new_loads_[r].back().version) return;
  first_saves_[r] = save(session, options_.new_job, rank, Version::new_first);
  if (!first_saves_[r]->has_value()) return;
  new_loads_[r].push_back(load(session, rank, {}));
  second_saves_[r] = save(session, options_.new_job, rank, Version::new_second);
}

TwoJobs::Held TwoJobs::load(protocol::Session& session, Rank rank, std::optional<std::string> directory) const {
  gen::RankState state = make_destination(options_.new_job, rank);
  const auto loaded = protocol::load(session, state.dict, {.directory = std::move(directory), .deadline = options_.deadline});
  if (!loaded) return {"", {}, to_string(loaded.error())};
  Held held{loaded->directory, {}, "no save had its step"};
  const auto id = plan::parse_directory_name(loaded->directory);
  for (std::size_t v = 0; v < versions; ++v) {
    const auto version = static_cast<Version>(v);
    if (!id || id->step != step_of(version)) continue;
    const auto differs = difference(state, options_.new_job, rank, values_[v]);
    if (!differs) return {loaded->directory, version, ""};
    held.what = *differs;
  }
  return held;
}

void TwoJobs::recover(const port::Env& env, Rank rank) {
  const auto r = static_cast<std::size_t>(rank.value);
  protocol::Session session(env);
  if (const auto recovered = protocol::recover(session, {.deadline = options_.deadline}); !recovered) {
    last_errors_[r] = to_string(recovered.error());
    return;
  }
  last_loads_[r] = load(session, rank, {});
  const protocol::Saved* second = acknowledged(second_saves_);
  const protocol::Saved* kept = second ? second : acknowledged(first_saves_);
  if (kept) kept_[r] = load(session, rank, kept->directory);
  const auto saved = save(session, options_.new_job, rank, Version::last);
  last_errors_[r] = saved ? "" : to_string(saved.error());
  if (!saved) return;
  const Held own = load(session, rank, {});
  if (own.directory != saved->directory)
    last_errors_[r] = fmt::format("saved {}, then loaded {} {}", saved->directory, own.directory, own.what);
}

bool TwoJobs::noticed() const {
  return std::ranges::any_of(old_saves_, [](const auto& save) { return !save || !save->has_value(); });
}

const protocol::Saved* TwoJobs::acknowledged(const Saves& saves) const {
  for (const auto& save : saves) {
    if (save && save->has_value()) return &**save;
  }
  return nullptr;
}

void TwoJobs::judge_held(const Held& held, std::string_view where, Verdict& verdict) const {
  if (held.version || held.directory.empty()) return;
  add(verdict, "S1", fmt::format("{}: {} holds nobody's values: {}", where, held.directory, held.what));
}

void TwoJobs::judge_end(const sim::Disk& disk, Verdict& verdict) const {
  const protocol::Saved* newest = nullptr;  // of what any rank of any job was told
  for (const Saves* saves : {&old_saves_, &first_saves_, &second_saves_}) {
    const protocol::Saved* saved = acknowledged(*saves);
    if (saved && (!newest || number_of(saved->directory) > number_of(newest->directory))) newest = saved;
  }
  std::set<std::string> directories;
  for (std::size_t r = 0; r < last_loads_.size(); ++r) {
    const std::string where = fmt::format("in the end, rank {}", r);
    const Held& held = last_loads_[r];
    judge_held(held, where, verdict);
    if (held.directory.empty()) {
      add(verdict, "S3", fmt::format("{}: no checkpoint loads: {}{}", where, held.what, last_errors_[r]));
    } else if (newest && held.directory != newest->directory && number_of(held.directory) <= number_of(newest->directory)) {
      add(verdict, "S2", fmt::format("{}: {} was committed, and {} is loaded", where, newest->directory, held.directory));
    }
    directories.insert(held.directory);
    const bool was_saved = acknowledged(first_saves_) != nullptr;
    if (was_saved && options_.keep_last >= 2 && !kept_[r].version)
      add(verdict, "S3", fmt::format("{}: the new job's last checkpoint is not there any more: {}", where, kept_[r].what));
    if (!last_errors_[r].empty()) add(verdict, "L2", fmt::format("{}: the next save: {}", where, last_errors_[r]));
    if (held.version == Version::old_jobs) MARK("two_jobs.ended_with_the_old_jobs");
    if (held.version == Version::new_second) MARK("two_jobs.ended_with_the_new_jobs");
  }
  if (directories.size() > 1) add(verdict, "S5", fmt::format("ranks loaded different checkpoints: {}", fmt::join(directories, ", ")));
  if (!verdict.empty()) return;
  if (const auto left = debris(disk)) add(verdict, "L4", fmt::format("after another save \"{}\" is still there", *left));
}

Verdict TwoJobs::judge(const sim::Trace& act, const sim::Trace& recovery, const sim::Disk& disk) {
  Verdict verdict;
  sim::Trace judged = act;
  // A rank that slept past its deadline leaves an operation behind, which keeps its buffer until it ends.
  if (act.stops != 0) judged.leaks.clear();
  sim::judge_run(judged, "two jobs", verdict);
  sim::judge_run(recovery, "the third job", verdict);
  for (const Saves* saves : {&old_saves_, &first_saves_, &second_saves_}) judge_agreement(*saves, verdict);
  for (std::size_t r = 0; r < new_loads_.size(); ++r) {
    for (const Held& held : new_loads_[r]) judge_held(held, fmt::format("rank {} of the new job", r), verdict);
  }
  // After its own first save the new job loads that one, or one that began later.
  for (std::size_t r = 0; r < new_loads_.size(); ++r) {
    if (new_loads_[r].size() < 2 || new_loads_[r][1].directory.empty()) continue;
    const std::string& own = (*first_saves_[r])->directory;
    const std::string& found = new_loads_[r][1].directory;
    if (found != own && number_of(found) <= number_of(own))
      add(verdict, "S9", fmt::format("rank {} of the new job saved {}, and then {} is the newest", r, own, found));
  }
  judge_end(disk, verdict);
  const bool old_committed = acknowledged(old_saves_) != nullptr;
  if (act.stops != 0 && old_committed && acknowledged(first_saves_)) MARK("two_jobs.both_committed");
  if (act.stops != 0 && !old_committed && acknowledged(first_saves_)) MARK("two_jobs.old_job_kept_out");
  return verdict;
}

}  // namespace holdfast::properties
