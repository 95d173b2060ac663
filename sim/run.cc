#include "sim/run.h"

#include <fmt/format.h>

#include <deque>

#include "impl/core/check.h"
#include "sim/clock.h"
#include "sim/data_plane.h"
#include "sim/device.h"
#include "sim/kernel.h"
#include "sim/net.h"
#include "sim/storage.h"
#include "sim/tasks.h"
#include "sim/tsan.h"

namespace holdfast::sim {
namespace {

RunListener& run_listener() {
  static RunListener listener;
  return listener;
}

/// Notes the protocol's step for the record; without a record it does nothing.
class StepObserver final : public port::Observer {
 public:
  StepObserver(Kernel& kernel, RankState& rank) : kernel_(kernel), rank_(rank) {}
  void entered(std::string_view step) override {
    const tsan::Inside inside;
    if (kernel_.scenario().record_events) rank_.step = step;
  }

 private:
  Kernel& kernel_;
  RankState& rank_;
};

/// The doors of one rank.
struct Doors {
  Doors(Kernel& kernel, Network& network, Exchanges& exchanges, Disk& disk, RankState& rank)
      : net(kernel, network, rank), data(kernel, exchanges, rank), storage(kernel, disk, rank), device(kernel, rank), clock(kernel, rank),
        tasks(kernel, rank), observer(kernel, rank) {}

  Net net;
  DataPlane data;
  Storage storage;
  Device device;
  Clock clock;
  Tasks tasks;
  StepObserver observer;
  port::Env env{net, data, storage, device, clock, tasks, &observer};
};

void fill(Trace& trace, Kernel& kernel, std::deque<Doors>& doors) {
  for (RankState& rank : kernel.ranks()) {
    doors[static_cast<std::size_t>(rank.rank.value)].device.account();
    if (rank.end.how == RankEnd::returned && rank.leak != Leak{.rank = rank.rank}) trace.leaks.push_back(rank.leak);
    trace.ends.push_back(std::move(rank.end));
    trace.calls_by_rank.push_back(rank.calls);
    trace.traffic.push_back(rank.traffic);
  }
  trace.virtual_ns = kernel.now();
  trace.switches = kernel.scheduler().switches();
}

}  // namespace

Trace run(const Scenario& scenario, Disk& disk, const RankMain& rank_main) {
  CHECK(scenario.world_size > 0, "a run needs a rank, world_size is {}", scenario.world_size);
  const tsan::Inside inside;
  Trace trace;
  const EngineLease engine = borrow_engine(scenario.engine);
  Decisions decisions = !scenario.replay          ? Decisions(scenario.seed)
                        : scenario.replay_loosely ? Decisions::loosely(*scenario.replay)
                                                  : Decisions(*scenario.replay);
  {
    Kernel kernel(scenario, *engine, decisions, trace);
    Network network(kernel);
    Exchanges exchanges(kernel, network);
    std::deque<Doors> doors;
    for (RankState& rank : kernel.ranks()) {
      const port::Env& env = doors.emplace_back(kernel, network, exchanges, disk, rank).env;
      kernel.spawn(rank, [&env, &rank_main, number = rank.rank] { rank_main(env, number); });
    }
    kernel.scheduler().run();
    tsan::acquire(&kernel.scheduler());
    fill(trace, kernel, doors);
  }
  if (trace.power_lost) disk.crash(scenario.persistence, decisions);
  if (trace.diverged.empty() && !decisions.divergence().empty())
    trace.diverged = fmt::format("diverged at the end: {}", decisions.divergence());
  trace.decisions = decisions.take();
  if (run_listener()) run_listener()(scenario, trace, disk);
  return trace;
}

void set_run_listener(RunListener listener) { run_listener() = std::move(listener); }

}  // namespace holdfast::sim
