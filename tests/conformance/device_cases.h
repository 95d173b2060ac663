// What every port::Device must do, as cases that any back end can be run through.
#pragma once

#include <span>

#include "impl/port/device.h"

namespace holdfast::conformance {

struct DeviceCase {
  const char* name;
  /// The Error names the expectation that did not hold, or what failed on the way. Everything opened is given back when it succeeds.
  Status (*run)(port::Device& device, port::Clock& clock);
};

std::span<const DeviceCase> device_cases();

}  // namespace holdfast::conformance
