// Tables of layouts on the wire: what a rank lists by rule, and what it is told to write of it. Compact, because a coordinator receives one from every
// rank; the same for all ranks of a stage, because nothing in one depends on the rank; total to decode.
//
// A table is a varint count, then each tensor: what its name keeps of the name before (a byte), the rest of the name, its kind (dtype, mesh and
// placements), its shape, its flat cut. All but the first are *interned*: sent in full the first time, after a varint 0, and by number afterwards.
// Values of more than 64 bytes are sent in full each time: a short message must not unfold into unbounded memory.
#pragma once

#include <vector>

#include "impl/core/encoding.h"
#include "impl/core/plan_values.h"

namespace holdfast::plan {

/// Requires: strictly ascending names.
Bytes encode_table(const std::vector<LayoutItem>& table);
/// Errors: corrupt. Whether the layouts fit their shapes is not looked at (check() of impl/core/mesh_layout.h).
Result<std::vector<LayoutItem>> decode_table(ByteView bytes);

/// What became of each tensor of `local` in `global`: left out, the same, another mesh or flat cut. None when `global` holds anything else; then it is
/// sent as a table.
std::optional<Bytes> encode_changes(const std::vector<LayoutItem>& local, const std::vector<LayoutItem>& global);
/// Errors: corrupt.
Result<std::vector<LayoutItem>> apply_changes(const std::vector<LayoutItem>& local, ByteView bytes);

}  // namespace holdfast::plan
