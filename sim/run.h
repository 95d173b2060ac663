// One run: N ranks of ordinary blocking code over simulated doors, on the calling thread, in virtual time. Equal scenario and
// disk give an equal trace.
#pragma once

#include <functional>

#include "impl/port/env.h"
#include "sim/disk.h"
#include "sim/scenario.h"
#include "sim/trace.h"

namespace holdfast::sim {

/// What a rank does. It must reach the world only through the doors, and let the private exception of a kill pass (no `catch (...)` without
/// `throw`). Destructors that run outside an unwinding may call only doors that cannot fail, and Storage::close.
using RankMain = std::function<void(const port::Env&, Rank)>;

/// Runs until every rank and task ended. After a power loss `disk` holds one legal crash state; otherwise un-synced operations stay pending
/// in it (Disk::settle, Disk::crash). Several threads may run at once, each on its own disk.
Trace run(const Scenario& scenario, Disk& disk, const RankMain& rank_main);

/// Told of every run of the process when it has ended, on the thread that ran it. For programs that compare whole series of runs. Not
/// synchronised: set before runs start; an empty one ends it.
using RunListener = std::function<void(const Scenario&, const Trace&, const Disk&)>;
void set_run_listener(RunListener listener);

}  // namespace holdfast::sim
