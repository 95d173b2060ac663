// Names and ages of checkpoints. A directory is one attempt to save one step; nothing but that attempt is ever written into it.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/ids.h"

namespace holdfast::plan {

struct AttemptId {
  Step step;
  std::uint32_t attempt = 0;
  auto operator<=>(const AttemptId&) const = default;
};

/// "step-7.a1". Requires step >= 0.
std::string directory_name(AttemptId id);
/// The inverse: none unless `name` is exactly what directory_name gives (decimal without sign, leading zeros or anything around it).
std::optional<AttemptId> parse_directory_name(std::string_view name);

/// An attempt with a commit record.
struct Committed {
  AttemptId id;
  std::uint64_t sequence = 0;  ///< 1 + the highest committed sequence that the attempt saw when it began, at least its number
  bool operator==(const Committed&) const = default;
};

/// Age is the order in which attempts began, never the step: a run that went back from step 1000 to 900 goes on from there.
/// The higher (sequence, attempt) is newer; of equals the higher step.
bool newer(const Committed& a, const Committed& b);
std::vector<Committed> newest_first(std::vector<Committed> committed);

/// The id of a new attempt at `step`: its number is 1 + the highest of the attempts at any step, committed or not, so that it is newer
/// than every attempt that saw the same sequence. At the largest number it stays there: the directory exists, and making it fails.
AttemptId next_attempt(std::span<const AttemptId> all_attempts, Step step);
/// 1 + the highest sequence; 1 when there is none.
std::uint64_t next_sequence(std::span<const Committed> committed);

}  // namespace holdfast::plan
