#include "impl/format/path.h"

#include <charconv>
#include <limits>

#include "impl/format/manifest.h"

namespace holdfast::format {

bool stays_inside(std::string_view path) {
  if (path.find('\0') != std::string_view::npos) return false;
  for (;;) {
    const std::size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (component.empty() || component == "." || component == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::optional<SegmentName> parse_segment_name(std::string_view path) {
  constexpr std::string_view prefix = "segment-";
  if (!path.starts_with(prefix)) return std::nullopt;
  const char* end = path.data() + path.size();
  std::int32_t rank = -1;
  SegmentName name{0, 0};
  const auto rank_end = std::from_chars(path.data() + prefix.size(), end, rank).ptr;
  if (rank < 0 || rank_end == end) return std::nullopt;
  std::from_chars(rank_end + 1, end, name.number);
  name.rank = static_cast<std::uint32_t>(rank);
  // Many texts read as the same two numbers; only the one that segment_name writes is the default path.
  return segment_name(Rank{rank}, name.number) == path ? std::optional(name) : std::nullopt;
}

}  // namespace holdfast::format
