// What programs that run campaigns take as arguments.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "impl/core/error.h"
#include "sim/faults.h"

namespace holdfast::sim {

/// Decimal, 0x-hex or a 40-hex commit id (its first 16 digits). Errors: invalid_argument.
Result<std::uint64_t> parse_seed(const std::string& text);

/// The kinds of fault of these names. Errors: invalid_argument for a name that is none.
Result<std::vector<FaultKind>> parse_kinds(const std::vector<std::string>& names);

}  // namespace holdfast::sim
