// holdfast-validate without --mutants: the catalogue, or one property of it, in a world.
#pragma once

#include "properties/main/arguments.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

void list_properties();

/// The ranks that properties may draw in `world`.
int ranks_of(const World& world, const Arguments& arguments);

/// Checks the properties that `world` can run, after a preflight where it needs one; prints, and publishes, what came of each.
Exit run_catalogue(World& world, const Arguments& arguments);

}  // namespace holdfast::properties
