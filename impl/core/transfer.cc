#include "impl/core/transfer.h"

namespace holdfast {

// Nothing is on neither side: an empty block of device memory may come here, too.

void pack_and_digest(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, ByteSpan destination,
                     TensorDigest* digest) {
  if (!destination.empty()) copy_block(source, packed_block(destination.data(), source.sizes, source.element_bytes));
  if (digest) *digest = source.bytes() == 0 ? TensorDigest{} : tensor_digest(source, box, shape, dtype);
}

void copy_and_digest(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, const StridedBlock& destination,
                     TensorDigest* digest) {
  copy_block(source, destination);
  if (digest) *digest = destination.bytes() == 0 ? TensorDigest{} : tensor_digest(destination, box, shape, dtype);
}

}  // namespace holdfast
