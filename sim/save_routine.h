// A save routine of anybody's as a story to put under faults: it saves one state, then another over it; after that new processes load.
#pragma once

#include <memory>
#include <string>

#include "impl/core/bytes.h"
#include "impl/core/error.h"
#include "impl/port/env.h"
#include "sim/workload.h"

namespace holdfast::sim {

/// Code under test. It reaches storage, network, clock and tasks only through the doors of `env` (impl/port), gives every call a deadline, and lets
/// foreign exceptions pass: a killed rank unwinds by one. A load is another process: nothing may be kept in the object, hence const.
class SaveRoutine {
 public:
  virtual ~SaveRoutine() = default;
  virtual std::string name() const = 0;
  /// Ranks of the job, at least 1.
  virtual int world_size() const { return 1; }
  /// Bytes of a rank's state. Storage tears at 4 KiB, so less than two blocks hides bugs.
  virtual std::size_t state_bytes() const { return 3 * 4096; }

  /// Saves this rank's state as checkpoint `step`; steps rise. Every rank calls it. Success promises that the checkpoint is durable, on every rank:
  /// from then on a load must give it, whatever crashes. An error promises nothing, but that what was saved before still loads.
  virtual Status save(const port::Env& env, Rank rank, Step step, ByteView state) const = 0;
  /// This rank's state of the newest checkpoint. Runs without faults, after a crash or not. Every rank calls it.
  virtual Result<Bytes> load(const port::Env& env, Rank rank) const = 0;
};

/// The story of a routine. Judged by S1 (a load gives the old state or the new one, whole, the same step on every rank), S2 (a save that any rank
/// reported as done is what loads), S3 (something always loads) and judge_run.
std::unique_ptr<Workload> make_workload(std::shared_ptr<const SaveRoutine> routine);

}  // namespace holdfast::sim
