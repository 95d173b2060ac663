// The trace record: one door call, step or fault of a run. Judges and reports read it; they know nothing else of the run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "impl/core/ids.h"

namespace holdfast {

struct TraceEvent {
  std::int64_t begin_ns = 0;  ///< virtual or monotonic time
  std::int64_t end_ns = 0;
  Rank rank;
  std::int32_t task = 0;  ///< 0 is the rank's main task
  std::string step;       ///< the numbered protocol step the rank was in: "6 publish"
  std::string op;         ///< door and call: "storage.sync"
  std::string object;     ///< path, peer, or buffer
  std::uint64_t bytes = 0;
  std::string result;  ///< "ok" or the error's code
  std::string fault;   ///< the fault injected here, or empty
};

struct TraceRecord {
  std::string name;
  std::string seed;
  std::int32_t world_size = 0;
  std::uint64_t event_hash = 0;
  std::vector<TraceEvent> events;
};

}  // namespace holdfast
