// One tensor's dtype, shape and chunks, as the manifest stores them. Private to impl/format.
#pragma once

#include <cstdint>

#include "impl/core/encoding.h"
#include "impl/core/plan_values.h"

namespace holdfast::format {

void put_layout(Encoder& out, const TensorMetadata& metadata);

/// Reads a layout of `chunks` chunks. Errors: corrupt.
Result<TensorMetadata> take_layout(Decoder& in, std::uint64_t chunks);
/// As take_layout, but keeps nothing.
Status check_layout(Decoder& in, std::uint64_t chunks);

}  // namespace holdfast::format
