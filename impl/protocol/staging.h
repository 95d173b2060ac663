// Copies tensors between the device and host staging, with digests taken where the tensors lie.
#pragma once

#include <vector>

#include "impl/core/digest.h"
#include "impl/port/device.h"

namespace holdfast::protocol {

/// One tensor box and where it goes to or comes from in staging.
struct StagedBox {
  StridedBlock block;  ///< the trainer's memory
  Box box;
  Dims shape;
  DType dtype = DType::u8;
  ByteSpan staging;  ///< block.bytes() long
};

/// Takes the digest of every box on its device, then copies it out to staging; the digests are in the order of the boxes.
/// Blocks until all of it is done. `staging_owner` keeps the staging memory for copies that outlive a timeout.
/// Errors: what the device says; corrupt when staging does not hold what the device digested.
Result<std::vector<TensorDigest>> snapshot(port::Device& device, const std::vector<StagedBox>& boxes, std::shared_ptr<void> staging_owner,
                                           port::Deadline deadline);

/// Copies every box in from staging and checks its digest on the device against that of the staging memory. Blocks until done.
Status upload(port::Device& device, const std::vector<StagedBox>& boxes, std::shared_ptr<void> staging_owner, port::Deadline deadline);

}  // namespace holdfast::protocol
