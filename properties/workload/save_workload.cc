#include "properties/workload/save_workload.h"

#include <algorithm>
#include <set>

#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/recover.h"
#include "properties/gen/layout_file.h"
#include "properties/workload/judge.h"
#include "sim/judge.h"

namespace holdfast::properties {
namespace {

constexpr Step old_step{100}, old_again_step{110}, new_step{200}, next_step{150};  // the last one rewinds: age is not the step
// What a fault spoils of two saves leaves a third checkpoint.
constexpr plan::RetentionPolicy warm_retention{.keep_last = 3};

bool is_new(std::string_view directory) { return directory.starts_with(fmt::format("step-{}.", new_step)); }

gen::WholeValues values_of(const gen::StateSpec& spec, const std::optional<gen::WholeValues>& real, std::uint64_t version) {
  return real ? gen::changed(*real, version) : make_values(spec, version);
}

}  // namespace

SaveWorkload::SaveWorkload(gen::StateSpec spec, SaveWorkloadOptions options)
    : spec_(std::move(spec)), recovered_spec_(options.recovered_spec.value_or(spec_)), options_(std::move(options)),
      old_(values_of(spec_, options_.values, 1)), new_(values_of(spec_, options_.values, 2)), next_(values_of(spec_, options_.values, 3)) {
  for (int r = 0; r < spec_.world_size; ++r) {
    states_.push_back(make_state(spec_, Rank{r}, new_));
    if (options_.warm) warm_states_.push_back(make_state(spec_, Rank{r}, old_));
  }
}

sim::Disk storage_with_checkpoint(const gen::StateSpec& spec, const gen::WholeValues& values, Rank coordinator,
                                  const protocol::SaveOptions& options) {
  sim::Disk disk;
  sim::Scenario scenario;
  scenario.world_size = spec.world_size;
  scenario.random_latency = false;
  const sim::Trace trace = sim::run(scenario, disk, [&](const port::Env& env, Rank rank) {
    const gen::RankState state = make_state(spec, rank, values);
    protocol::Session session(env, {.coordinator = coordinator});
    const auto saved = protocol::save(session, state.dict, options);
    CHECK(saved.has_value(), "prepare: {}", to_string(saved.error()));
  });
  CHECK(trace.all_returned(), "prepare: {}", trace.deadlock);
  disk.settle();
  return disk;
}

sim::Disk SaveWorkload::prepare() {
  return storage_with_checkpoint(spec_, old_, options_.coordinator,
                                 {.step = old_step, .deadline = options_.deadline, .block_bytes = options_.block_bytes});
}

void SaveWorkload::begin() {
  saves_.assign(static_cast<std::size_t>(spec_.world_size), std::nullopt);
  warm_.assign(static_cast<std::size_t>(spec_.world_size), 0);
  async_states_ = std::vector<gen::RankState>(static_cast<std::size_t>(spec_.world_size));
  late_.assign(static_cast<std::size_t>(spec_.world_size), 0);
  recoveries_.assign(static_cast<std::size_t>(recovered_spec_.world_size), {});
}

void SaveWorkload::act(const port::Env& env, Rank rank) {
  const auto r = static_cast<std::size_t>(rank.value);
  protocol::Session session(env, {.coordinator = options_.coordinator});
  protocol::SaveOptions options{.step = new_step, .deadline = options_.deadline, .block_bytes = options_.block_bytes};
  if (options_.warm) {
    options.retention = warm_retention;
    save_old_again(session, rank);
  }
  const port::TimePoint started = env.clock.now();
  saves_[r] = options_.async ? save_async(session, rank, options) : protocol::save(session, states_[r].dict, options);
  late_[r] = is_late(env, started);
}

/// However it ends, the trainer goes on: all ranks at one moment, as after a step of training. Else a rank that a fault kept in this save would take the
/// others' time for the next, and they could not know.
void SaveWorkload::save_old_again(protocol::Session& session, Rank rank) {
  const auto r = static_cast<std::size_t>(rank.value);
  const protocol::SaveOptions options{
      .step = old_again_step, .deadline = options_.deadline, .block_bytes = options_.block_bytes, .retention = warm_retention};
  port::Clock& clock = session.env().clock;
  const port::TimePoint step_over = clock.now() + options_.deadline + std::chrono::seconds(10);
  warm_[r] = protocol::save(session, warm_states_[r].dict, options).has_value();
  clock.sleep_until(step_over);
}

protocol::Checkpointed<protocol::Saved> SaveWorkload::save_async(protocol::Session& session, Rank rank,
                                                                 const protocol::SaveOptions& options) {
  const port::TimePoint started = session.env().clock.now();
  // Outlives the call: a device may be stuck with it.
  gen::RankState& state = async_states_[static_cast<std::size_t>(rank.value)];
  state = make_state(spec_, rank, new_);
  auto pending = protocol::async_save(session, state.dict, options);
  for (Bytes& memory : state.memory) std::ranges::fill(memory, std::byte{0xEE});
  if (session.unfinished().empty()) state = {};
  if (!pending) return tl::unexpected(std::move(pending).error());
  // It ends by its own deadline. The wait itself may be made to hang: then what came meanwhile is there for a second one.
  port::Clock& clock = session.env().clock;
  auto outcome = pending->wait({started + options.deadline + std::chrono::seconds(2)});
  if (!outcome) outcome = pending->wait(clock.after(std::chrono::seconds(2)));
  if (outcome) return *std::move(outcome);
  FailureMap failures;
  failures.add(rank, error(ErrorCode::timeout, "the save that was started never ended"));
  return tl::unexpected(CheckpointError{"pending", Outcome::unknown, std::move(failures), {}});
}

/// Calls that have no deadline of their own may come a little late, each by a delay that was injected.
bool SaveWorkload::is_late(const port::Env& env, port::TimePoint started) const {
  return env.clock.now() > started + options_.deadline + std::chrono::seconds(5);
}

void SaveWorkload::recover(const port::Env& env, Rank rank) {
  Recovery& result = recoveries_[static_cast<std::size_t>(rank.value)];
  protocol::Session session(env);
  if (const auto recovered = protocol::recover(session, {.deadline = options_.deadline}); !recovered) {
    result.error = to_string(recovered.error());
    return;
  }
  gen::RankState state = make_destination(recovered_spec_, rank);
  const auto loaded = protocol::load(session, state.dict, {.deadline = options_.deadline});
  if (!loaded) {
    result.error = to_string(loaded.error());
    return;
  }
  result.directory = loaded->directory;
  result.version = is_new(loaded->directory) ? 2 : 1;
  result.said_damaged = std::ranges::any_of(loaded->skipped, is_new);
  result.difference = difference(state, recovered_spec_, rank, *result.version == 1 ? old_ : new_).value_or("");
  if (options_.save_again) result.again = save_again(session, rank);
}

std::string SaveWorkload::save_again(protocol::Session& session, Rank rank) {
  const gen::RankState state = make_state(recovered_spec_, rank, next_);
  const auto saved =
      protocol::save(session, state.dict, {.step = next_step, .deadline = options_.deadline, .block_bytes = options_.block_bytes});
  if (!saved) return to_string(saved.error());
  gen::RankState loaded_state = make_destination(recovered_spec_, rank);
  const auto loaded = protocol::load(session, loaded_state.dict, {.deadline = options_.deadline});
  if (!loaded) return to_string(loaded.error());
  if (loaded->directory != saved->directory) return fmt::format("saved {}, then loaded {}", saved->directory, loaded->directory);
  return difference(loaded_state, recovered_spec_, rank, next_).value_or("");
}

bool SaveWorkload::noticed() const {
  return std::ranges::any_of(saves_, [](const auto& save) { return !save || !save->has_value(); });
}

Verdict SaveWorkload::judge(const sim::Trace& act, const sim::Trace& recovery, const sim::Disk& disk) {
  Verdict verdict;
  sim::judge_run(act, "save", verdict);
  sim::judge_run(recovery, "recovery", verdict);
  judge_agreement(saves_, verdict);
  judge_attribution(saves_, act, verdict);

  const auto says = [&](auto predicate) { return std::ranges::any_of(saves_, [&](const auto& save) { return save && predicate(*save); }); };
  const bool committed = says([](const auto& save) { return save.has_value(); });
  const bool failed = says([](const auto& save) { return !save.has_value() && save.error().outcome == Outcome::failed; });
  // A bit that flipped on its way to the disk was stored wrong after every digest was taken: the new checkpoint may be found damaged.
  const bool flipped = std::ranges::any_of(act.fired, [](const sim::Fault& fault) { return fault.kind == sim::FaultKind::bit_flip; });

  for (std::size_t r = 0; r < late_.size(); ++r) {
    if (late_[r]) verdict.push_back({VerdictClass::liveness, "L1", fmt::format("rank {} came back after its deadline", r)});
  }

  std::set<std::pair<std::string, int>> loaded;
  for (std::size_t r = 0; r < recoveries_.size(); ++r) {
    const Recovery& result = recoveries_[r];
    const auto violation = [&](std::string_view property, std::string text) {
      verdict.push_back({VerdictClass::safety, std::string(property), fmt::format("after recovery, rank {}: {}", r, text)});
    };
    if (!result.error.empty()) {
      violation("S3", "no checkpoint loads: " + result.error);
    } else if (!result.version) {
      violation("L1", "it did not finish");
    } else if (!result.difference.empty()) {
      violation("S1", fmt::format("{} does not hold what was saved there: {}", result.directory, result.difference));
    } else {
      loaded.emplace(result.directory, *result.version);
      if (committed && *result.version != 2 && !(flipped && result.said_damaged))
        violation("S2", "a save that reported success is gone: " + result.directory);
      if (failed && *result.version == 2) violation("S5", "a save that reported failure is loaded: " + result.directory);
      if (*result.version == 2) MARK("judge.loaded_new");
      if (*result.version == 1) MARK("judge.loaded_old");
    }
    if (!result.again.empty()) violation("L2", "the next save: " + result.again);
  }
  if (loaded.size() > 1) {
    verdict.push_back({VerdictClass::safety, "S5",
                       fmt::format("ranks loaded different checkpoints: {} and {}", loaded.begin()->first, loaded.rbegin()->first)});
  }
  if (std::ranges::all_of(warm_, [](char told) { return told != 0; })) {
    if (committed && says([](const auto& save) { return save.has_value() && save->plan_was_cached; })) MARK("judge.warm_save_committed");
    if (noticed()) MARK("judge.warm_save_hit");
  }
  if (!options_.save_again || !verdict.empty()) return verdict;
  if (const auto left = debris(disk))
    verdict.push_back({VerdictClass::safety, "L4", fmt::format("after recovery and another save \"{}\" is still there", *left)});
  return verdict;
}

}  // namespace holdfast::properties
