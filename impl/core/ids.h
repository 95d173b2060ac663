// Distinct integer types for the things that are counted. A Rank is never a Step by accident.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>

namespace holdfast {

/// Position of a process in the job's group: 0 .. world_size - 1.
struct Rank {
  std::int32_t value = 0;
  auto operator<=>(const Rank&) const = default;
};

/// The trainer's step a checkpoint belongs to. Not an order of age: a job can be rewound (see Attempt).
struct Step {
  std::int64_t value = 0;
  auto operator<=>(const Step&) const = default;
};

}  // namespace holdfast

template <>
struct fmt::formatter<holdfast::Rank> : fmt::formatter<std::int32_t> {
  auto format(holdfast::Rank rank, format_context& context) const { return formatter<std::int32_t>::format(rank.value, context); }
};
template <>
struct fmt::formatter<holdfast::Step> : fmt::formatter<std::int64_t> {
  auto format(holdfast::Step step, format_context& context) const { return formatter<std::int64_t>::format(step.value, context); }
};
