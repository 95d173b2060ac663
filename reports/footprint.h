// What each rank of a layout holds, in numbers. Layers repeat, so that a layout is looked at once for all tensors of one shape, on any stage.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "impl/core/chunk_set.h"

namespace holdfast::reports {

struct Footprint {
  struct Part {
    std::uint32_t rank = 0;    ///< counted from the first rank of the mesh
    std::uint32_t number = 0;  ///< of the box among the rank's
    std::uint32_t size = 0;    ///< position in `sizes`
    std::int64_t elements = 0;
  };
  std::vector<Part> parts;    ///< by position, then number; of a tensor without elements one, empty
  std::vector<Dims> sizes;    ///< distinct sizes of boxes
  std::int64_t elements = 0;  ///< in all parts
  bool overlap = false;       ///< two parts share an element
};

class Footprints {
 public:
  /// Requires: a layout that check() accepts, along which nothing is replicated.
  const Footprint& of(const MeshLayout& layout, const Dims& shape);

 private:
  std::map<std::string, Footprint> known_;
};

/// What a layout is, wherever its mesh starts, of a tensor of one shape: equal for equal layers of different stages.
std::string signature(const MeshLayout& layout, const Dims& shape);

}  // namespace holdfast::reports
