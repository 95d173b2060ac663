#include "sim/save_routine.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "impl/core/check.h"
#include "sim/judge.h"

namespace holdfast::sim {
namespace {

constexpr Step old_step{1}, new_step{2};

/// Differs between ranks, steps and 4 KiB blocks in every byte.
Bytes state_of(std::size_t bytes, Rank rank, Step step) {
  constexpr std::size_t block_bytes = 4096, ranks_apart = 1, steps_apart = 16;
  Bytes state(bytes);
  const std::size_t first = steps_apart * static_cast<std::size_t>(step.value) + ranks_apart * static_cast<std::size_t>(rank.value + 1);
  for (std::size_t i = 0; i < bytes; ++i) state[i] = static_cast<std::byte>(i * 7 + i / block_bytes + first);
  return state;
}

class RoutineWorkload final : public Workload {
 public:
  explicit RoutineWorkload(std::shared_ptr<const SaveRoutine> routine) : routine_(std::move(routine)) {}

  std::string name() const override { return routine_->name(); }
  int world_size() const override { return routine_->world_size(); }
  Disk prepare() override;
  void begin() override;
  void act(const port::Env& env, Rank rank) override;
  void recover(const port::Env& env, Rank rank) override;
  bool noticed() const override { return std::ranges::find(saved_, 0) != saved_.end(); }
  Verdict judge(const Trace& act, const Trace& recovery, const Disk& disk) override;

 private:
  struct Loaded {
    std::string error;
    std::optional<Step> step;  ///< none: the bytes of neither save
  };
  std::size_t ranks() const { return static_cast<std::size_t>(world_size()); }
  Status save(const port::Env& env, Rank rank, Step step) const {
    const Bytes state = state_of(routine_->state_bytes(), rank, step);
    return routine_->save(env, rank, step, state);
  }
  std::optional<Violation> judge(std::size_t rank, bool committed) const;

  std::shared_ptr<const SaveRoutine> routine_;
  std::vector<char> saved_;  ///< by rank: it reported success
  std::vector<Loaded> loaded_;
};

Disk RoutineWorkload::prepare() {
  Disk disk;
  Scenario scenario;
  scenario.world_size = world_size();
  scenario.random_latency = false;
  const Trace trace = run(scenario, disk, [&](const port::Env& env, Rank rank) {
    const Status saved = save(env, rank, old_step);
    CHECK(saved.has_value(), "{}: the first save, without faults, fails on rank {}: {}", name(), rank, saved.error());
  });
  CHECK(trace.all_returned(), "{}: the first save, without faults, does not end: {}", name(), trace.deadlock);
  disk.settle();
  return disk;
}

void RoutineWorkload::begin() {
  saved_.assign(ranks(), 0);
  loaded_.assign(ranks(), {"it did not finish", {}});
}

void RoutineWorkload::act(const port::Env& env, Rank rank) {
  saved_[static_cast<std::size_t>(rank.value)] = save(env, rank, new_step).has_value();
}

void RoutineWorkload::recover(const port::Env& env, Rank rank) {
  Loaded loaded;
  const auto state = routine_->load(env, rank);
  if (!state) loaded.error = fmt::format("{}", state.error());
  for (const Step step : {old_step, new_step}) {
    if (state && *state == state_of(routine_->state_bytes(), rank, step)) loaded.step = step;
  }
  loaded_[static_cast<std::size_t>(rank.value)] = std::move(loaded);
}

std::optional<Violation> RoutineWorkload::judge(std::size_t rank, bool committed) const {
  const auto violation = [&](std::string_view property, const std::string& text) {
    return Violation{VerdictClass::safety, std::string(property), fmt::format("after recovery, rank {}: {}", rank, text)};
  };
  const Loaded& loaded = loaded_[rank];
  if (!loaded.error.empty()) {
    if (committed) return violation("S2", "a save that reported success does not load: " + loaded.error);
    return violation("S3", "no checkpoint loads: " + loaded.error);
  }
  if (!loaded.step) return violation("S1", "what it loads holds the bytes of neither save");
  const Step first = loaded_[0].step.value_or(*loaded.step);
  if (*loaded.step != first)
    return violation("S1", fmt::format("it loads step {}, rank 0 step {}: old and new values mixed", *loaded.step, first));
  if (committed && *loaded.step == old_step) return violation("S2", "a save that reported success is gone, the old one is loaded");
  return std::nullopt;
}

Verdict RoutineWorkload::judge(const Trace& act, const Trace& recovery, const Disk& /*disk*/) {
  Verdict verdict;
  judge_run(act, "save", verdict);
  judge_run(recovery, "recovery", verdict);
  const bool committed = std::ranges::find(saved_, 1) != saved_.end();
  for (std::size_t rank = 0; rank < ranks(); ++rank) {
    if (auto violation = judge(rank, committed)) verdict.push_back(std::move(*violation));
  }
  return verdict;
}

}  // namespace

std::unique_ptr<Workload> make_workload(std::shared_ptr<const SaveRoutine> routine) {
  return std::make_unique<RoutineWorkload>(std::move(routine));
}

}  // namespace holdfast::sim
