// D1: a run is the same on both engines of the simulator, fibres and threads.
#include <atomic>

#include "impl/core/mark.h"
#include "properties/property.h"
#include "properties/workload/save_workload.h"
#include "sim/campaign.h"

namespace holdfast::properties {
namespace {

/// One story on both engines, each on a disk of its own.
template <typename Tell>
std::optional<std::string> agree(sim::Scenario scenario, std::string_view what, const Tell& tell) {
  scenario.engine = sim::EngineKind::fiber;
  const auto [fibers, fiber_hash] = tell(scenario);
  scenario.engine = sim::EngineKind::thread;
  const auto [threads, thread_hash] = tell(scenario);
  if (std::ranges::any_of(fibers.ends, [](const sim::RankEnd& end) { return end.how == sim::RankEnd::killed; }))
    MARK("engines.killed_on_both");
  if (fibers.event_hash != threads.event_hash) {
    return fmt::format("{}: event hash {:016x} on fibres, {:016x} on threads, after {} and {} events", what, fibers.event_hash,
                       threads.event_hash, fibers.events, threads.events);
  }
  if (fibers.decisions != threads.decisions) return fmt::format("{}: the engines' decisions differ", what);
  if (fingerprint(fibers) != fingerprint(threads)) return fmt::format("{}: the events are equal, the rest of the trace is not", what);
  if (fiber_hash != thread_hash) return fmt::format("{}: what is left on the disk differs between the engines", what);
  return std::nullopt;
}

std::optional<std::string> save_is_the_same(const gen::DrawnCase& drawn) {
  SaveWorkload workload(drawn.saved, {.coordinator = drawn.coordinator, .block_bytes = drawn.block_bytes, .save_again = false});
  const sim::Disk prepared = workload.prepare();
  const sim::Case drawn_case = sim::random_case(sim::enumerate_sites(workload, prepared), drawn.seed, 0);
  return agree(drawn_case.scenario, "save and recovery", [&](const sim::Scenario& scenario) {
    sim::Case test = drawn_case;
    test.scenario = scenario;
    const sim::CaseResult result = sim::run_case(workload, test, prepared);
    return std::pair(result.act, result.hash);
  });
}

// A story made of what the engines do differently: exceptions that are held while other fibres throw theirs.

struct Thrown {
  std::uint64_t value;
};

class Holder {
 public:
  Holder(const port::Env& env, std::uint64_t seed, std::atomic<std::uint64_t>& thrown) : env_(env), state_(seed), thrown_(thrown) {}

  /// Throws, holds what it caught while others throw, throws it on, and waits as long as what arrives says: the event hash shows it.
  /// Between the second throw and its handler nothing suspends, so that even an engine that mixes the exceptions up destroys each once.
  void hold(int depth) {
    std::uint64_t arrived = 0;
    try {
      try {
        pause(0);
        ++thrown_;
        throw Thrown{below(1000)};
      } catch (const Thrown&) {
        const std::uint64_t before = thrown_;
        pause(0);
        if (depth > 0) hold(depth - 1);
        if (thrown_ != before) MARK("engines.thrown_while_another_is_held");
        throw;
      }
    } catch (const Thrown& thrown) {
      arrived = thrown.value;
    }
    pause(arrived);
  }

 private:
  void pause(std::uint64_t microseconds) { env_.clock.sleep_until(env_.clock.now() + std::chrono::microseconds(microseconds + below(3))); }
  std::uint64_t below(std::uint64_t n) {
    state_ = state_ * 0x9e3779b97f4a7c15u + 1;
    return (state_ >> 33) % n;
  }

  const port::Env& env_;
  std::uint64_t state_;
  std::atomic<std::uint64_t>& thrown_;  // by anybody in the run
};

std::optional<std::string> exceptions_are_the_same(const gen::DrawnCase& drawn) {
  constexpr int tasks = 2, depth = 2;
  sim::Scenario scenario;
  scenario.world_size = drawn.saved.world_size;
  scenario.seed = drawn.seed;
  if (drawn.seed % 2 == 0) {
    const auto ordinal = static_cast<std::uint32_t>(drawn.seed / 2 % 20);
    scenario.faults = {{.site = {drawn.chosen.front(), ordinal}, .kind = sim::FaultKind::kill_rank}};
  }
  return agree(scenario, "held exceptions", [&](const sim::Scenario& chosen) {
    std::atomic<std::uint64_t> thrown = 0;
    sim::Disk disk;
    const sim::Trace trace = sim::run(chosen, disk, [&](const port::Env& env, Rank rank) {
      std::vector<port::TaskId> started;
      for (std::uint64_t t = 0; t < tasks; ++t) {
        const std::uint64_t seed = drawn.seed + 100 * t + static_cast<std::uint64_t>(rank.value);
        const auto task = env.tasks.spawn("hold", [&env, &thrown, seed] { Holder(env, seed, thrown).hold(depth); });
        if (task) started.push_back(*task);
      }
      for (const port::TaskId task : started) static_cast<void>(env.tasks.join(task, env.clock.after(std::chrono::seconds(1))));
    });
    return std::pair(trace, disk.hash());
  });
}

gen::Outcome check(World& /*world*/, const gen::DrawOptions& options) {
  return gen::for_all(options, [](const gen::DrawnCase& drawn) {
    auto wrong = save_is_the_same(drawn);
    return wrong ? wrong : exceptions_are_the_same(drawn);
  });
}

}  // namespace

std::vector<Property> engine_properties() {
  return {{"engines-agree",
           "D1",
           "A run gives the same events, decisions and disk on fibres and on threads.",
           {"sim"},
           check,
           {"engines.killed_on_both", "engines.thrown_while_another_is_held"}}};
}

}  // namespace holdfast::properties
