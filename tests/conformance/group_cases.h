// What every port::Net and port::DataPlane must do, as cases for a group of ranks. Exchanges are of the kind of memory that the data plane moves.
#pragma once

#include <span>

#include "impl/port/data_plane.h"
#include "impl/port/device.h"
#include "impl/port/net.h"

namespace holdfast::conformance {

struct GroupDoors {
  port::Net& net;
  port::DataPlane& data;
  port::Clock& clock;
  port::Device* device = nullptr;  ///< needed where the data plane moves device memory
};

struct GroupCase {
  const char* name;
  int world_size;
  /// Run on every rank at the same time; a rank whose main has returned has left the group. The Error names the expectation that did
  /// not hold.
  Status (*rank_main)(const GroupDoors& doors);
};

std::span<const GroupCase> group_cases();

}  // namespace holdfast::conformance
