// One tensor cut twice: how it was saved (solid) and how it is wanted now (dashed), one over the other. Says at a glance whether a
// reshard of this tensor makes sense.
#pragma once

#include <string>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/dtype.h"

namespace holdfast::reports {

struct TensorOverlay {
  std::string name;
  DType dtype = DType::f32;
  Dims shape;
  std::vector<Box> saved;
  std::vector<Box> wanted;
  std::vector<std::size_t> mine = {};  ///< positions in `wanted` of the boxes to fill: their sources are named
};

/// An SVG document. A tensor of one dimension is a strip; of more than two, the two dimensions that are cut most are drawn and the title
/// says which. Boxes out of bounds are drawn clamped. Grids too fine to see are drawn as one shaded area, with their number.
std::string tensor_overlay_svg(const TensorOverlay& overlay);

}  // namespace holdfast::reports
