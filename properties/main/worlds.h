// The worlds that this program was linked with.
#pragma once

#include <string>

#include "properties/worlds/world.h"

namespace holdfast::properties {

/// Errors: invalid_argument for a name that is no world of this program.
Result<std::unique_ptr<World>> world_named(const std::string& name);

/// Becomes holdfast-validate-simgpu, which lies beside this program, with the same arguments; returns where it cannot, or need not, since this is
/// that program.
void run_simgpu_program(char** argv);

}  // namespace holdfast::properties
