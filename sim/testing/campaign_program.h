// A campaign as a whole program: put save routines of one's own under every fault, from the command line and in continuous integration.
#pragma once

#include <memory>
#include <vector>

#include "sim/save_routine.h"
#include "sim/workload.h"

namespace holdfast::sim {

/// The main() of a program that puts the named one of `workloads` under faults; with a single one the name may be left out.
///
///   PROGRAM [WORKLOAD] [--seed S] [--cases N] [--exhaust] [--kinds K,...] [--case I] [--junit FILE] [--summary FILE]
///
/// Runs N random cases, or with --exhaust every kind of fault at every door call; every 50th case twice. Flipped bits are left out unless --kinds
/// names them: only a routine with digests and an older checkpoint to go back to can stand them. The first failure of each property is shrunk and told, with the command that replays it: the same with --case I. The seed is printed first and last, its default is 1 or the
/// environment's HOLDFAST_SEED. --junit and --summary as reports/publish.h, with the environment's GITHUB_STEP_SUMMARY.
///
/// Results go to stdout, progress to stderr; the last line is the verdict. Returns the exit code: 0 no violation found, 1 a violation, 2 no verdict
/// (usage, a report that cannot be written). Runs on the calling thread.
int campaign_main(int argc, char** argv, const std::vector<std::shared_ptr<Workload>>& workloads);

}  // namespace holdfast::sim
