// What a run is asked to be.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/decisions.h"
#include "sim/disk.h"
#include "sim/engine.h"
#include "sim/faults.h"
#include "sim/trace.h"

namespace holdfast::sim {

/// Told of each site before its fault and effect. Runs inside the rank; must not call a door.
class Interceptor {
 public:
  virtual ~Interceptor() = default;
  virtual void before(const SiteRecord& site) = 0;
};

/// A process that stops and goes on later as if nothing had happened: SIGSTOP, a paused machine, a stuck mount. All tasks of rank `at.rank`
/// stop before its call `at`. They go on when call `until`, of another rank, is about to begin, or else when nothing more can happen without
/// them. What they had under way has its effect only then, in time or not.
struct Stop {
  Site at{};
  Site until{};
};

struct Scenario {
  std::string name{};
  int world_size = 1;
  std::uint64_t seed = 0;
  std::vector<Fault> faults{};
  std::vector<Stop> stops{};
  PersistenceModel persistence = PersistenceModel::weak;
  bool random_latency = true;  ///< false: no latency, fibres in turn, device work as late as legal: no decision but those of faults
  bool record_events = false;  ///< fills Trace::record and Trace::sites; changes nothing else
  std::optional<std::vector<Decision>> replay{};  ///< instead of the seed
  bool replay_loosely = false;                    ///< the list was edited: match it kind by kind (Decisions::loosely)
  std::uint64_t events_max = 50'000'000;          ///< a run beyond this is a livelock: harness_error
  Interceptor* interceptor = nullptr;
  EngineKind engine = default_engine();  ///< changes nothing that a trace shows
};

}  // namespace holdfast::sim
