// Host memory moved and digested in one go: what a device does where its memory is the host's.
#pragma once

#include "impl/core/digest.h"

namespace holdfast {

/// Packs `source` into `destination` (row-major, source.bytes() long; empty: copies nothing), then, unless `digest` is null, takes tensor_digest of the
/// source. In parts that fit the cache the source is read from memory once.
void pack_and_digest(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, ByteSpan destination,
                     TensorDigest* digest);

/// Copies `source` to `destination`, then, unless `digest` is null, takes tensor_digest of the destination.
void copy_and_digest(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, const StridedBlock& destination,
                     TensorDigest* digest);

}  // namespace holdfast
