// What a rank brings to a transfer: the boxes of tensors that it holds and those that it wants. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/dtype.h"
#include "impl/core/state_dict.h"

namespace holdfast::plan {

struct TransferBox {
  Box box;
  bool in_place = false;  ///< of what is wanted: the rank's source has this box in this memory, so there is nothing to do
  bool operator==(const TransferBox&) const = default;
};

struct TransferTensor {
  DType dtype = DType::u8;
  Dims shape;                      ///< of the whole tensor
  std::vector<TransferBox> boxes;  ///< by number of the shard
  bool operator==(const TransferTensor&) const = default;
};

struct TransferOffer {
  std::map<std::string, TransferTensor, std::less<>> held, wanted;
  bool operator==(const TransferOffer&) const = default;
};

/// The tensors of `from` and `to`; byte values of `from` stay out. Looks at addresses, and at no element.
/// Errors: invalid_argument, every problem named: a byte value in `to`; a box out of bounds or with memory of another size; a box of `to` that shares memory
/// with one of `from`, unless it is the same box in the same memory; two boxes of `to` that share memory and are both to be written.
Result<TransferOffer> local_transfer_offer(const StateDict& from, const StateDict& to);

}  // namespace holdfast::plan
