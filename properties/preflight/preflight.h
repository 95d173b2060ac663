// What must hold where a job is to run, tried before anything is built on it: ranks that hear each other, a data plane that delivers, storage that all see
// and that does what it claims, devices that give back what they got. With what each of them takes.
#pragma once

#include <string>
#include <vector>

#include "properties/worlds/world.h"

namespace holdfast::properties {

struct PreflightSize {
  std::size_t pair_bytes = 4 << 20;     ///< from each rank to each other, less where there are many
  std::size_t sent_bytes = 64 << 20;    ///< by each rank at most
  std::size_t file_bytes = 64 << 20;    ///< a rank
  std::size_t device_bytes = 64 << 20;  ///< a rank
};

struct PreflightRow {
  std::string step;
  bool passed = false;
  std::string found;  ///< "4 ranks, 38 us there and back"; of a step that failed, which ranks say what
};

/// Tries it with `ranks` ranks of the world, step by step; what comes after a step that failed is not there. Leaves the storage as it was. Blocks for at most
/// a minute a step.
std::vector<PreflightRow> preflight(World& world, int ranks, const PreflightSize& size = {});

}  // namespace holdfast::properties
