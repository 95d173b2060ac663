// Where things stand in a manifest: offsets and sizes shared by its writer and its reader. FORMAT.md says the same in words.
// Private to impl/format.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "impl/core/bytes.h"

namespace holdfast::format::manifest_layout {

inline constexpr std::string_view magic = "HOLDFAST";

// The fixed part, by byte offset.
inline constexpr std::uint64_t version_at = 8;          // u32
inline constexpr std::uint64_t attempt_at = 12;         // u32
inline constexpr std::uint64_t step_at = 16;            // u64
inline constexpr std::uint64_t sequence_at = 24;        // u64
inline constexpr std::uint64_t world_size_at = 32;      // u32
inline constexpr std::uint64_t block_bytes_at = 36;     // u32
inline constexpr std::uint64_t segments_count_at = 40;  // u32
inline constexpr std::uint64_t tensors_count_at = 44;   // u32
inline constexpr std::uint64_t values_count_at = 48;    // u32
inline constexpr std::uint64_t parent_bytes_at = 52;    // u32
inline constexpr std::uint64_t chunks_count_at = 56;    // u64
inline constexpr std::uint64_t layouts_bytes_at = 64;   // u64
inline constexpr std::uint64_t text_bytes_at = 72;      // u64
inline constexpr std::uint64_t planner_bytes_at = 80;   // u64
inline constexpr std::uint64_t fixed_bytes = 88;

// A text reference, where a record has one: u32 offset in the text part, u32 bytes.
inline constexpr std::uint64_t record_bytes = 40;
namespace segment {
inline constexpr std::uint64_t rank_at = 0;           // u32; 0 when the path is not the default one
inline constexpr std::uint64_t number_at = 4;         // u32; offset in the text part when the path is not the default one
inline constexpr std::uint64_t path_bytes_at = 8;     // u32; 0 for the default path
inline constexpr std::uint64_t header_bytes_at = 12;  // u32
inline constexpr std::uint64_t file_bytes_at = 16;    // u64
inline constexpr std::uint64_t digest_at = 24;        // u64 low, u64 high
}  // namespace segment
namespace tensor {
inline constexpr std::uint64_t name_at = 0;          // text reference
inline constexpr std::uint64_t layout_at = 8;        // u64, offset in the layouts part
inline constexpr std::uint64_t first_chunk_at = 16;  // u64, index in the locations part
inline constexpr std::uint64_t digest_at = 24;       // u64 lane 0, u64 lane 1
}  // namespace tensor
namespace value {
inline constexpr std::uint64_t name_at = 0;     // text reference
inline constexpr std::uint64_t path_at = 8;     // text reference
inline constexpr std::uint64_t bytes_at = 16;   // u64
inline constexpr std::uint64_t digest_at = 24;  // u64 low, u64 high
}  // namespace value

inline constexpr std::uint64_t location_bytes = 12;  // u32 segment, u64 offset
inline constexpr std::uint64_t digest_bytes = 16;

inline constexpr std::uint8_t layout_boxes = 0;
inline constexpr std::uint8_t layout_grid = 1;
inline constexpr std::uint64_t dims_max = 64;  // more than any framework has

static_assert(std::endian::native == std::endian::little, "manifests are read in place");

template <typename T>
T load(ByteView bytes, std::uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

}  // namespace holdfast::format::manifest_layout
