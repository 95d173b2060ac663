#include "impl/protocol/planner.h"

namespace holdfast::protocol {

Status LoadPlanner::load_tensor(const ReadItem& item, const std::vector<Part>& parts, std::shared_ptr<const void> /*owner*/) {
  const StridedBlock destination = TRY(resolve_tensor(item));
  if (destination.sizes != item.lengths)
    return fail(ErrorCode::invalid_argument, "load {}: the planner's memory is not of the item's size", to_string(item.dest_index));
  for (const Part& part : parts) {
    const StridedBlock to = narrow(destination, part.offset, part.memory.sizes);
    if (to.element_bytes != part.memory.element_bytes)
      return fail(ErrorCode::invalid_argument, "load {}: the planner's memory is not of the item's dtype", to_string(item.dest_index));
    copy_block(part.memory, to);
  }
  return commit_tensor(item);
}

}  // namespace holdfast::protocol
