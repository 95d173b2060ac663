// Campaigns as a program of one's own, with seeds, replay and reports for continuous integration. Link holdfast::testing.
#pragma once

#include <holdfast/sim.h>

// clang-format off: the order matters
#include <holdfast/macros_push.inc>
#include "sim/testing/campaign_program.h"
#include <holdfast/macros_pop.inc>
// clang-format on
