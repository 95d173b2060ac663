#include "impl/format/file_names.h"

#include <fmt/format.h>

#include <algorithm>

#include "impl/core/check.h"

namespace holdfast::format {

SegmentId segment_of_box(Rank rank, std::int64_t box) {
  CHECK(box >= 0 && box < segments_a_rank_max, "box {} of a tensor on rank {}", box, rank);
  return {rank, static_cast<std::uint16_t>(box)};
}

std::string segment_name(SegmentId id) { return fmt::format("segment-{:05}-{:03}.safetensors", id.rank, id.number); }
std::string value_name(Rank rank, std::uint32_t number) { return fmt::format("bytes-{:05}-{:03}.bin", rank, number); }

bool is_directory_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7f && c != '/'; });
}

}  // namespace holdfast::format
