// Slurm's lists of host names: "n[01-03,7],login". Pure.
#pragma once

#include <string>
#include <string_view>

#include "impl/core/error.h"

namespace holdfast::backend {

/// The first host of a list; the whole list is read, so that a cut or mangled one is refused.
/// Errors: invalid_argument, naming the list, where it goes wrong and what was expected there.
Result<std::string> first_node(std::string_view list);

}  // namespace holdfast::backend
