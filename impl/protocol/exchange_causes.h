// Who is named when exchanges over the data plane failed, and nobody's own work did.
#pragma once

#include <span>

#include "impl/core/failure.h"

namespace holdfast::protocol {

/// Of what the ranks say that the data plane did to them, the causes: a rank that only waited in vain, or whose peer went away, is not named beside one that knows
/// more.
FailureMap causes_of(std::span<const FailureMap> exchanges);

}  // namespace holdfast::protocol
