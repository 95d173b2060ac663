// Scenarios drawn at random.
#pragma once

#include <vector>

#include "properties/gen/drawn_case.h"
#include "properties/parity/scenario.h"

namespace holdfast::properties::parity {

/// As many as options.cases, the same for the same options: two jobs, as gen::DrawnCase has them, that save and load in turns, with faults and damage
/// between. Not re-entrant, as gen::for_all.
std::vector<Scenario> draw_scenarios(const gen::DrawOptions& options);

}  // namespace holdfast::properties::parity
