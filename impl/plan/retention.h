// Which committed checkpoints may go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "impl/plan/attempts.h"

namespace holdfast::plan {

struct RetentionPolicy {
  std::size_t keep_last = 2;    ///< the newest so many stay; at least one always does
  std::int64_t keep_every = 0;  ///< steps divisible by this stay as well; 0: none
};

/// What a save with the sequence `own_sequence` may remove once it has committed, oldest first, so that an interrupted removal leaves the
/// newer ones. Never the newest, never the last verified one, never one with a sequence of its own or above: a save that woke up late
/// removes nothing of those that overtook it.
std::vector<AttemptId> to_retire(std::span<const Committed> committed, std::uint64_t own_sequence, const RetentionPolicy& policy,
                                 std::optional<AttemptId> last_verified);

}  // namespace holdfast::plan
