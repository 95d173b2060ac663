// holdfast-validate-mutants --mutants.
#pragma once

#include "properties/main/arguments.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

/// Every mutant that belongs to `world` must make its property fail in one of draws_max draws, in each of which the property must hold without it.
Exit kill_mutants(World& world, const Arguments& arguments);

}  // namespace holdfast::properties
