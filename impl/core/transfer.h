// Host memory moved and digested in one go: what a device does where its memory is the host's.
#pragma once

#include "impl/core/digest.h"

namespace holdfast {

/// Packs `source` into `destination` (row-major, source.bytes() long; empty: copies nothing), then, unless `digest` is null, takes tensor_digest of the
/// source. In parts that fit the cache the source is read from memory once. A source that is packed goes past the cache: what is digested of it is digested
/// where it lies. One that is not is in the cache packed, and is better digested there.
void pack_and_digest(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, ByteSpan destination,
                     TensorDigest* digest);

/// copy_block for a destination that nobody reads soon: long runs go past the cache where the processor can do that, so the destination's old bytes are not
/// read from memory first.
void copy_past_cache(const StridedBlock& source, const StridedBlock& destination);

/// Copies `source` to `destination`, past the cache when there is no digest to take, then, unless `digest` is null, takes tensor_digest of the destination.
void copy_and_digest(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, const StridedBlock& destination,
                     TensorDigest* digest);

}  // namespace holdfast
