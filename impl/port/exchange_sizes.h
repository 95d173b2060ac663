// What every back end of the data plane that compares sizes before it moves bytes says of those that do not meet.
#pragma once

#include <cstdint>
#include <vector>

#include "impl/core/error.h"
#include "impl/core/ids.h"

namespace holdfast::port {

/// Whether the k-th send from `from` to `to` and the k-th receive there have equal bytes. Errors: invalid_argument.
inline Status check_sizes_meet(Rank from, const std::vector<std::uint64_t>& sends, Rank to, const std::vector<std::uint64_t>& receives) {
  if (sends.size() != receives.size()) {
    return fail(ErrorCode::invalid_argument, "rank {} has {} sends to rank {}, which has {} receives from it", from, sends.size(), to,
                receives.size());
  }
  for (std::size_t i = 0; i < sends.size(); ++i) {
    if (sends[i] == receives[i]) continue;
    return fail(ErrorCode::invalid_argument, "send {} from rank {} to rank {} has {} bytes, its receive has {}", i, from, to, sends[i],
                receives[i]);
  }
  return {};
}

}  // namespace holdfast::port
