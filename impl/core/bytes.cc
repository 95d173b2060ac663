#include "impl/core/bytes.h"

namespace holdfast {

// Not in the header: inlined, g++ 12 warns falsely of the vector it moves from.
SharedBytes::SharedBytes(Bytes bytes) {
  auto owned = std::make_shared<const Bytes>(std::move(bytes));
  view_ = *owned;
  owner_ = std::move(owned);
}

}  // namespace holdfast
