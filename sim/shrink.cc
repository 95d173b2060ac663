#include "sim/shrink.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast::sim {
namespace {

class Shrinker {
 public:
  Shrinker(const Case& failing, const StillFails& still_fails, const ShrinkOptions& options)
      : still_fails_(still_fails), options_(options) {
    result_.test = failing;
    result_.faults_before = failing.scenario.faults.size();
  }

  Shrunk run() && {
    result_.failed_again = accept(result_.test);
    result_.decisions_before = chosen_decisions(decisions_);
    if (result_.failed_again) {
      drop_faults();
      soften();
      drop_decisions();
      pin();
    }
    result_.faults_after = result_.test.scenario.faults.size();
    result_.decisions_after = chosen_decisions(decisions_);
    return std::move(result_);
  }

 private:
  bool accept(const Case& candidate) {
    if (result_.runs >= options_.runs_max) return false;
    ++result_.runs;
    auto decisions = still_fails_(candidate);
    if (!decisions) return false;
    result_.test = candidate;
    decisions_ = std::move(*decisions);
    return true;
  }

  template <typename... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) {
    result_.history.push_back(fmt::format("run {}: ", result_.runs) + fmt::format(format, std::forward<Args>(args)...));
  }

  void drop_faults() {
    // Dropping one can make another droppable: again until nothing goes.
    for (bool again = true; again;) {
      again = false;
      for (std::size_t i = result_.test.scenario.faults.size(); i-- > 0;) {
        Case smaller = result_.test;
        smaller.scenario.faults.erase(smaller.scenario.faults.begin() + static_cast<std::ptrdiff_t>(i));
        if (!accept(smaller)) continue;
        note("{} faults left", smaller.scenario.faults.size());
        again = true;
      }
    }
  }

  void soften() {
    Case milder = result_.test;
    milder.power_loss_after = false;
    if (result_.test.power_loss_after && accept(milder)) note("no power loss afterwards");
    for (const PersistenceModel model : {PersistenceModel::strict, PersistenceModel::ext4_ordered}) {
      if (result_.test.scenario.persistence <= model) break;
      milder = result_.test;
      milder.scenario.persistence = model;
      if (!accept(milder)) continue;
      note("persistence model {}", to_string(model));
      break;
    }
    milder = result_.test;
    milder.scenario.random_latency = false;
    milder.scenario.replay.reset();
    if (result_.test.scenario.random_latency && accept(milder)) note("no random latency");
  }

  void drop_decisions() {
    const std::size_t before = chosen_decisions(decisions_);
    for (std::size_t width = before; width > 0; width /= 2) {
      std::size_t end = chosen_decisions(decisions_);
      while (end > 0) {
        const std::size_t begin = end > width ? end - width : 0;
        Case smaller = result_.test;
        smaller.scenario.replay = without(begin, end);
        smaller.scenario.replay_loosely = true;
        accept(smaller);
        end = std::min(begin, chosen_decisions(decisions_));
      }
    }
    if (chosen_decisions(decisions_) != before) note("{} of {} decisions left", chosen_decisions(decisions_), before);
  }

  /// The list with the begin-th to end-th choice (of those that are not the default) made the default.
  std::vector<Decision> without(std::size_t begin, std::size_t end) const {
    std::vector<Decision> list = decisions_;
    std::size_t number = 0;
    for (Decision& decision : list) {
      if (decision.pick == 0) continue;
      if (number >= begin && number < end) decision.pick = 0;
      ++number;
    }
    return list;
  }

  /// The exact list; the defaults at its end say themselves.
  void pin() {
    std::vector<Decision> list = decisions_;
    while (!list.empty() && list.back().pick == 0) list.pop_back();
    result_.test.scenario.replay = std::move(list);
    result_.test.scenario.replay_loosely = false;
  }

  const StillFails& still_fails_;
  const ShrinkOptions& options_;
  Shrunk result_;
  std::vector<Decision> decisions_;
};

}  // namespace

std::size_t chosen_decisions(const std::vector<Decision>& decisions) {
  return static_cast<std::size_t>(std::ranges::count_if(decisions, [](const Decision& decision) { return decision.pick != 0; }));
}

StillFails fails_alike(Workload& workload, const Disk& prepared, std::string property) {
  return [&workload, &prepared, property = std::move(property)](const Case& test) -> std::optional<std::vector<Decision>> {
    CaseResult result = run_case(workload, test, prepared);
    const bool alike = std::ranges::any_of(result.verdict, [&](const Violation& violation) { return violation.property == property; });
    if (!alike || !result.act.diverged.empty()) return std::nullopt;
    return std::move(result.act.decisions);
  };
}

Shrunk shrink(const Case& failing, const StillFails& still_fails, const ShrinkOptions& options) {
  return Shrinker(failing, still_fails, options).run();
}

}  // namespace holdfast::sim
