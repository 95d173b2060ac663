#include "model/expected_metadata.h"

#include <set>

namespace holdfast::model {

std::optional<Metadata> expected_metadata(const GlobalState& state, const Layouts& layouts, int world_size) {
  Metadata metadata;
  for (const auto& [key, value] : state) {
    const auto* tensor = std::get_if<GlobalTensor>(&value);
    if (!tensor) {
      metadata.entries[key] = BytesMetadata{};
      continue;
    }
    const auto layout = layouts.find(key);
    std::set<Box> with_elements;
    std::set<Box> without;
    for (std::int32_t rank = 0; rank < world_size; ++rank) {
      for (const Box& box : boxes_of(layout == layouts.end() ? Layout{ReplicatedLayout{}} : layout->second, tensor->shape, Rank{rank})) {
        (box.empty() ? without : with_elements).insert(box);
      }
    }
    const bool has_elements = !whole(tensor->shape).empty();
    const std::set<Box>& held = has_elements ? with_elements : without;
    if (held.empty()) return std::nullopt;
    std::vector<Box> boxes(held.begin(), has_elements ? held.end() : std::next(held.begin()));
    metadata.entries[key] = TensorMetadata{tensor->dtype, tensor->shape, ChunkSet(std::move(boxes), tensor->shape)};
  }
  return metadata;
}

}  // namespace holdfast::model
