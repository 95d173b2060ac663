#include "properties/compare_engines.h"

#include "sim/run.h"

namespace holdfast::properties {
namespace {

struct RunDigest {
  std::uint64_t event_hash = 0;
  std::uint64_t rest = 0;  ///< decisions and all else of the trace
  std::uint64_t disk = 0;
  bool operator==(const RunDigest&) const = default;
};

RunDigest digest_of(const sim::Trace& trace, const sim::Disk& disk) { return {trace.event_hash, fingerprint(trace), disk.hash()}; }

std::string difference(std::size_t run, const sim::Scenario& scenario, const RunDigest& fiber, const RunDigest& thread) {
  const std::string where = fmt::format("run {} of the property ({} ranks, seed {})", run, scenario.world_size, scenario.seed);
  if (fiber.event_hash != thread.event_hash)
    return fmt::format("{}: event hash {:016x} on fibres, {:016x} on threads", where, fiber.event_hash, thread.event_hash);
  return fmt::format("{}: the events are the same on both engines, {} not", where,
                     fiber.rest == thread.rest ? "the disk is" : "their decisions are");
}

gen::Outcome on_fresh_world(const Property& property, World& world, const gen::DrawOptions& options) {
  world.reset();
  return property.check(world, options);
}

/// While it lives, runs go to `engine` and are told to `listener`.
class OnEngine {
 public:
  OnEngine(sim::EngineKind engine, sim::RunListener listener) : before_(sim::default_engine()) {
    sim::set_default_engine(engine);
    sim::set_run_listener(std::move(listener));
  }
  ~OnEngine() {
    sim::set_run_listener({});
    sim::set_default_engine(before_);
  }
  OnEngine(const OnEngine&) = delete;
  OnEngine& operator=(const OnEngine&) = delete;

 private:
  sim::EngineKind before_;
};

}  // namespace

gen::Outcome check_on_both_engines(const Property& property, World& world, const gen::DrawOptions& options, EnginesCompared& compared) {
  std::vector<RunDigest> on_fibers;
  gen::Outcome outcome;
  {
    const OnEngine fibers(sim::EngineKind::fiber, [&](const sim::Scenario&, const sim::Trace& trace, const sim::Disk& disk) {
      on_fibers.push_back(digest_of(trace, disk));
      compared.events += trace.events;
    });
    outcome = on_fresh_world(property, world, options);
  }
  std::size_t next = 0;
  std::string differs;
  gen::Outcome on_threads;
  {
    const OnEngine threads(sim::EngineKind::thread, [&](const sim::Scenario& scenario, const sim::Trace& trace, const sim::Disk& disk) {
      const std::size_t run = next++;
      if (run >= on_fibers.size() || !differs.empty()) return;
      const RunDigest here = digest_of(trace, disk);
      if (here != on_fibers[run]) differs = difference(run, scenario, on_fibers[run], here);
    });
    on_threads = on_fresh_world(property, world, options);
  }
  compared.runs += on_fibers.size();
  if (!outcome.failure.empty()) return outcome;
  if (differs.empty() && on_threads.failure != outcome.failure) differs = "it holds on fibres; on threads: " + on_threads.failure;
  if (differs.empty() && next != on_fibers.size()) differs = fmt::format("{} runs on fibres, {} on threads", on_fibers.size(), next);
  outcome.failure = differs;
  return outcome;
}

}  // namespace holdfast::properties
