// Performs a scenario in a world.
#pragma once

#include <nlohmann/json.hpp>

#include "properties/parity/scenario.h"
#include "properties/worlds/world.h"

namespace holdfast::properties::parity {

/// Empties the world's storage, performs the acts, each by new ranks, and tells what came of each: {"scenario", "acts"}, as README.md of this folder has it.
/// What depends on time or chance is left out, so that every world must tell the same.
nlohmann::json perform(const Scenario& scenario, World& world);

}  // namespace holdfast::properties::parity
