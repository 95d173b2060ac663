// Outcomes of several worlds side by side.
#pragma once

#include <vector>

#include "properties/parity/outcome.h"
#include "reports/comparison.h"

namespace holdfast::properties::parity {

/// Every act of every scenario, and each place where what came of it is not the same everywhere, as deep as it can be named:
/// "ranks/2/failed/ranks/1/code". Errors: invalid_argument for fewer than two outcomes, or for outcomes that are not of the same scenarios.
Result<reports::Comparison> compare(const std::vector<Outcomes>& outcomes);

}  // namespace holdfast::properties::parity
