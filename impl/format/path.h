// Paths that a checkpoint may name: always inside its own directory. Private to impl/format.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace holdfast::format {

/// True for a relative path whose components are neither empty nor "." nor "..", without NUL.
bool stays_inside(std::string_view path);

struct SegmentName {
  std::uint32_t rank;
  std::uint32_t number;
};
/// The inverse of segment_name(); none for any other path.
std::optional<SegmentName> parse_segment_name(std::string_view path);

}  // namespace holdfast::format
