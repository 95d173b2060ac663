// What a run leaves: how it went, what was decided, what was injected, what was left behind. Judges read nothing else (and the Disk).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "impl/core/event.h"
#include "sim/decisions.h"
#include "sim/faults.h"

namespace holdfast::sim {

struct SiteRecord {
  Site site{};
  const char* op = "";   ///< "storage.sync"; applicable(op) says what may fire here
  std::string object{};  ///< as in TraceEvent; only when recorded
};

struct RankEnd {
  enum How : std::uint8_t {
    returned,    ///< the rank's main returned
    killed,      ///< by a fault, or because the run was stopped (diverged, harness_error)
    deadlocked,  ///< it waited when nothing could happen any more
    threw,       ///< an exception left the rank's main or a task
  };
  How how = returned;
  std::string what;  ///< the exception's text, or what killed it
};

/// Messages and bytes of Net.
struct Traffic {
  std::uint64_t messages_sent = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t messages_received = 0;
  std::uint64_t bytes_received = 0;
  bool operator==(const Traffic&) const = default;
};

/// What a rank that returned had not given back.
struct Leak {
  Rank rank{};
  int files_open = 0;
  int streams = 0;
  int events = 0;
  int buffers = 0;
  int tasks_unjoined = 0;  ///< neither joined nor detached when the rank's main returned
  bool operator==(const Leak&) const = default;
};

struct Trace {
  std::uint64_t event_hash = 0;
  std::uint64_t events = 0;
  std::uint64_t door_calls = 0;
  std::uint64_t switches = 0;  ///< times a fibre was resumed
  std::int64_t virtual_ns = 0;
  std::vector<Decision> decisions;           ///< as used; feed to Scenario::replay
  std::vector<RankEnd> ends;                 ///< by rank
  std::vector<std::uint32_t> calls_by_rank;  ///< sites of each rank: ordinals are below this
  std::vector<Fault> fired;                  ///< the ledger, in order
  std::uint32_t stops = 0;                   ///< processes that stopped and went on (Scenario::stops)
  bool power_lost = false;                   ///< the Disk went through a crash
  std::vector<Traffic> traffic;              ///< by rank
  std::vector<Leak> leaks;                   ///< ranks that leaked, in order
  std::vector<std::string> misuse;           ///< use of a door that the real one punishes silently: a copy into a freed buffer
  std::vector<TraceEvent> record;            ///< if Scenario::record_events
  std::vector<SiteRecord> sites;             ///< if Scenario::record_events, in order of begin
  std::string deadlock;                      ///< who waited for what, a line each; empty if nobody did
  std::string diverged;                      ///< how the replayed list did not fit; empty if it did
  std::string harness_error;                 ///< livelock, a swallowed kill; empty in a valid run

  bool all_returned() const {
    for (const RankEnd& end : ends) {
      if (end.how != RankEnd::returned) return false;
    }
    return true;
  }
};

/// "rank 3: 2 files open, 1 stream"
std::string to_string(const Leak& leak);

/// Of all of the trace but its records.
std::uint64_t fingerprint(const Trace& trace);

}  // namespace holdfast::sim
