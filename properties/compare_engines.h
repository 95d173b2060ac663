// A property checked once on each engine of the simulator, and every run it makes compared with the same run on the other.
#pragma once

#include <cstdint>

#include "properties/property.h"

namespace holdfast::properties {

struct EnginesCompared {
  std::uint64_t runs = 0;    ///< pairs of runs that were compared
  std::uint64_t events = 0;  ///< of the runs on fibres
};

/// The outcome on fibres; a failure also when a run's trace, the disk after it or the outcome itself is another on threads. Restores the default
/// engine; a run that names its engine itself runs on that one both times.
gen::Outcome check_on_both_engines(const Property& property, World& world, const gen::DrawOptions& options, EnginesCompared& compared);

}  // namespace holdfast::properties
