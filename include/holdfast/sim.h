// The simulator, for a save routine of one's own: rank code over simulated doors, scheduled faults, crashes, replay. Link holdfast::sim.
#pragma once

// clang-format off: the order matters
#include <holdfast/macros_push.inc>
#include "sim/campaign.h"
#include "sim/judge.h"
#include "sim/run.h"
#include "sim/save_routine.h"
#include "sim/shrink.h"
#include "sim/workload.h"
#include <holdfast/macros_pop.inc>
// clang-format on
