#include "properties/parity/draw.h"

#include <algorithm>

#include "impl/core/check.h"
#include "properties/gen/draw.h"

namespace holdfast::properties::parity {
namespace {

using gen::Draw;

constexpr std::uint64_t acts_min = 4, acts_more = 6;

/// Two jobs on one storage, and what they do.
class Story {
 public:
  explicit Story(const gen::DrawnCase& drawn) : drawn_(drawn), draw_(drawn.seed) {}

  Scenario tell(std::size_t number) {
    scenario_.name = fmt::format("drawn {}", number);
    scenario_.seed = drawn_.seed;
    scenario_.block_bytes = drawn_.block_bytes;
    scenario_.jobs = {{first, {drawn_.coordinator, drawn_.saved}}, {second, {drawn_.load_coordinator, drawn_.loaded}}};
    scenario_.acts = {save(first)};
    for (std::uint64_t left = acts_min + draw_.below(acts_more); left > 0; --left) add_act();
    scenario_.acts.insert(scenario_.acts.end(), {LatestAct{}, VerifyAct{}, LoadAct{.job = second}});
    return std::move(scenario_);
  }

 private:
  static constexpr const char* first = "first";
  static constexpr const char* second = "second";

  void add_act() {
    const std::string job = draw_.one_in(2) ? first : second;
    switch (draw_.below(7)) {
      case 0: scenario_.acts.push_back(with_fault(save(job))); return;
      case 1: scenario_.acts.push_back(save(job)); return;
      case 2: scenario_.acts.push_back(with_fault(LoadAct{.job = job})); return;
      case 3:
        scenario_.acts.push_back(DamageAct{.number = draw_.below(1000u), .bit = draw_.below(1u << 20)});
        scenario_.acts.push_back(load(job));
        return;
      case 4: scenario_.acts.push_back(VerifyAct{}); return;
      default: scenario_.acts.push_back(load(job)); return;
    }
  }

  SaveAct save(const std::string& job) {
    return {.job = job, .step = Step{draw_.below(5)}, .version = ++version_, .async = draw_.one_in(3)};
  }

  LoadAct load(const std::string& job) {
    return {.job = job, .mode = draw_.one_in(2) ? protocol::LoadMode::streamed : protocol::LoadMode::all_or_nothing};
  }

  template <typename T>
  T with_fault(T act) {
    const auto hooks = model::hooks_of(std::is_same_v<T, SaveAct> ? model::Operation::save : model::Operation::load);
    act.fails = model::InjectedFault{hooks[draw_.below(hooks.size())], act.job == first ? drawn_.chosen : drawn_.load_chosen};
    return act;
  }

  const gen::DrawnCase& drawn_;
  Draw draw_;
  Scenario scenario_;
  std::uint64_t version_ = 0;
};

}  // namespace

std::vector<Scenario> draw_scenarios(const gen::DrawOptions& options) {
  std::vector<Scenario> scenarios;
  const gen::Outcome outcome = gen::for_all(options, [&](const gen::DrawnCase& drawn) -> std::optional<std::string> {
    scenarios.push_back(Story(drawn).tell(scenarios.size() + 1));
    return std::nullopt;
  });
  CHECK(outcome.failure.empty(), "{}", outcome.failure);
  return scenarios;
}

}  // namespace holdfast::properties::parity
