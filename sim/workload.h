// A story to put under faults: what the ranks do, what they do after it, and what must be true then. A user's own save routine is one too.
#pragma once

#include <string>
#include <vector>

#include "impl/core/verdict.h"
#include "impl/port/env.h"
#include "sim/disk.h"
#include "sim/run.h"
#include "sim/scenario.h"
#include "sim/trace.h"

namespace holdfast::sim {

class Workload {
 public:
  virtual ~Workload() = default;
  virtual std::string name() const = 0;
  virtual int world_size() const = 0;
  virtual int recovery_world_size() const { return world_size(); }
  /// The storage before the story, made without faults.
  virtual Disk prepare() = 0;
  /// Forgets the case before.
  virtual void begin() = 0;
  /// The story, under faults.
  virtual void act(const port::Env& env, Rank rank) = 0;
  /// New processes on the storage that the story and its crash left, without faults.
  virtual void recover(const port::Env& env, Rank rank) = 0;
  /// Did any rank's story end otherwise than without faults, as its caller sees it?
  virtual bool noticed() const = 0;
  virtual Verdict judge(const Trace& act, const Trace& recovery, const Disk& disk) = 0;
};

struct Case {
  Scenario scenario;
  bool power_loss_after = false;  ///< power fails once the story is over: what was acknowledged must still be there
};

struct CaseResult {
  Trace act;
  Trace recovery;
  Verdict verdict;
  /// Over both runs and what is on the disk at the end.
  std::uint64_t hash = 0;
};

/// Runs one case on a copy of `prepared`.
CaseResult run_case(Workload& workload, const Case& test, const Disk& prepared);

}  // namespace holdfast::sim
