#include "reports/footprint.h"

#include <algorithm>

#include "impl/plan/tiling.h"

namespace holdfast::reports {
namespace {

Footprint look_at(const MeshLayout& layout, const Dims& shape) {
  Footprint footprint;
  std::map<Dims, std::uint32_t> known;
  std::vector<Box> boxes;
  const std::int64_t positions = whole(shape).empty() ? 1 : layout.mesh.size();
  for (std::int64_t position = 0; position < positions; ++position) {
    std::uint32_t number = 0;
    for (LocalBox& local : local_part(layout, shape, position)) {
      const auto [size, added] = known.emplace(local.box.size, static_cast<std::uint32_t>(footprint.sizes.size()));
      if (added) footprint.sizes.push_back(local.box.size);
      const auto rank = static_cast<std::uint32_t>(layout.mesh.rank(position).value - layout.mesh.first);
      footprint.parts.push_back({rank, number++, size->second, local.box.volume()});
      footprint.elements += local.box.volume();
      boxes.push_back(std::move(local.box));
    }
  }
  footprint.overlap = !plan::find_overlaps(boxes).empty();
  return footprint;
}

}  // namespace

std::string signature(const MeshLayout& layout, const Dims& shape) {
  MeshLayout anywhere = layout;
  anywhere.mesh.first = 0;
  return to_string(anywhere) + to_string({shape.data(), shape.size()});
}

const Footprint& Footprints::of(const MeshLayout& layout, const Dims& shape) {
  const std::string key = signature(layout, shape);
  const auto known = known_.find(key);
  return known != known_.end() ? known->second : known_.emplace(key, look_at(layout, shape)).first->second;
}

}  // namespace holdfast::reports
