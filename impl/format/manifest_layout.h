// Where things stand in a manifest: offsets and sizes shared by its writer and its reader. FORMAT.md says the same in words.
// Private to impl/format.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "impl/core/bytes.h"
#include "impl/core/check.h"

namespace holdfast::format::manifest_layout {

inline constexpr std::string_view magic = "HOLDFAST";

// The fixed part, by byte offset.
inline constexpr std::uint64_t version_at = 8;              // u32
inline constexpr std::uint64_t attempt_at = 12;             // u32
inline constexpr std::uint64_t step_at = 16;                // u64
inline constexpr std::uint64_t sequence_at = 24;            // u64
inline constexpr std::uint64_t world_size_at = 32;          // u32
inline constexpr std::uint64_t block_bytes_at = 36;         // u32
inline constexpr std::uint64_t segments_count_at = 40;      // u32
inline constexpr std::uint64_t tensors_count_at = 44;       // u32
inline constexpr std::uint64_t values_count_at = 48;        // u32
inline constexpr std::uint64_t shapes_count_at = 52;        // u32
inline constexpr std::uint64_t meshes_count_at = 56;        // u32
inline constexpr std::uint64_t cuts_count_at = 60;          // u32
inline constexpr std::uint64_t layouts_count_at = 64;       // u32
inline constexpr std::uint64_t layouts_bytes_at = 68;       // u32, of shapes, meshes, cuts and layouts together
inline constexpr std::uint64_t tensor_names_bytes_at = 72;  // u32
inline constexpr std::uint64_t value_names_bytes_at = 76;   // u32
inline constexpr std::uint64_t parent_bytes_at = 80;        // u32
inline constexpr std::uint64_t planner_bytes_at = 84;       // u32
inline constexpr std::uint64_t fixed_bytes = 88;

namespace segment {
inline constexpr std::uint64_t rank_at = 0;          // u32
inline constexpr std::uint64_t number_at = 4;        // u16
inline constexpr std::uint64_t header_pages_at = 6;  // u16, in units of segment_alignment
inline constexpr std::uint64_t file_bytes_at = 8;    // u64
inline constexpr std::uint64_t digest_at = 16;       // u64 low, u64 high
inline constexpr std::uint64_t bytes = 32;
}  // namespace segment
namespace tensor {
inline constexpr std::uint64_t digest_at = 0;   // u64 lane 0, u64 lane 1
inline constexpr std::uint64_t layout_at = 16;  // u32: number of the layout + 2^24 * dtype code
inline constexpr std::uint64_t bytes = 20;
inline constexpr std::uint32_t layouts_max = 1u << 24;
}  // namespace tensor
namespace value {
inline constexpr std::uint64_t rank_at = 0;     // u32
inline constexpr std::uint64_t number_at = 4;   // u32
inline constexpr std::uint64_t bytes_at = 8;    // u64
inline constexpr std::uint64_t digest_at = 16;  // u64 low, u64 high
inline constexpr std::uint64_t bytes = 32;
}  // namespace value

inline constexpr std::uint64_t digest_bytes = 16;

inline constexpr std::uint8_t layout_list = 0;
inline constexpr std::uint8_t layout_grid = 1;
inline constexpr std::uint8_t layout_mesh = 2;
inline constexpr std::uint8_t placement_replicate = 0;
inline constexpr std::uint8_t placement_shard = 1;
inline constexpr std::uint8_t placement_strided = 2;
inline constexpr std::uint8_t placement_segments = 3;

static_assert(std::endian::native == std::endian::little, "manifests are read in place");

template <typename T>
T load(ByteView bytes, std::uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}
template <typename T>
void store(ByteSpan bytes, std::uint64_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

inline std::uint32_t size32(std::size_t size) {
  CHECK(size <= std::numeric_limits<std::uint32_t>::max(), "{} of something in a manifest", size);
  return static_cast<std::uint32_t>(size);
}

}  // namespace holdfast::format::manifest_layout
