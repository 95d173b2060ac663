// What every port::Storage must do, as cases that any back end can be run through.
#pragma once

#include <span>

#include "impl/port/storage.h"

namespace holdfast::conformance {

struct StorageCase {
  const char* name;
  /// `storage` is empty. The Error names the expectation that did not hold, or what failed on the way.
  Status (*run)(port::Storage& storage, port::Clock& clock);
};

std::span<const StorageCase> storage_cases();

}  // namespace holdfast::conformance
