// The names of the files in an attempt's directory. They follow from ranks and numbers, and are stored nowhere.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "impl/core/ids.h"

namespace holdfast::format {

/// A rank's segments are numbered from 0.
struct SegmentId {
  Rank rank;
  std::uint16_t number = 0;
  auto operator<=>(const SegmentId&) const = default;
};

inline constexpr std::int64_t segments_a_rank_max = 1 << 16;

/// The one rule of where tensor data lies: number `box` (from 0) of the boxes that a rank writes of one tensor, in the order of its plan,
/// goes to the rank's segment of that number. Writers follow it, and for chunks of a mesh readers rely on it.
/// Requires: 0 <= box < segments_a_rank_max.
SegmentId segment_of_box(Rank rank, std::int64_t box);

std::string segment_name(SegmentId id);                   ///< "segment-RRRRR-NNN.safetensors"
std::string value_name(Rank rank, std::uint32_t number);  ///< "bytes-RRRRR-NNN.bin"

/// What the directory of an attempt can be called: printable ASCII without space or slash, 1 to 255 characters.
bool is_directory_name(std::string_view name);

}  // namespace holdfast::format
