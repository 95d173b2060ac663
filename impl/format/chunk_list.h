// Chunks of a tensor that no rule gives, and the segments they lie in, as a manifest stores them. Private to impl/format.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "impl/core/box.h"
#include "impl/core/chunk_set.h"
#include "impl/core/encoding.h"

namespace holdfast::format {

// Of chunks named one by one: box and segment of each, ascending by segment, no segment twice.

/// Requires: a segment a chunk, boxes inside `shape`.
void put_chunk_list(Encoder& out, const Dims& shape, const ChunkSet& chunks, std::span<const std::uint32_t> segments);
/// Reads `count` chunks of a manifest with `segment_count` segments. Errors: corrupt.
Status take_chunk_list(Decoder& in, const Dims& shape, std::uint64_t count, std::uint64_t segment_count,
                       const std::function<void(std::uint32_t segment, const Box& box)>& visit);

// Of the chunks of a grid, the segments alone, in the order of the chunks.

/// Requires: no segment next to itself.
void put_segments(Encoder& out, std::span<const std::uint32_t> segments);
/// Reads `count` segments, which stand in runs: the segments first, first + step, ..., `length` of them. Errors: corrupt.
Status take_segments(Decoder& in, std::uint64_t count, std::uint64_t segment_count,
                     const std::function<void(std::int64_t first, std::int64_t step, std::uint64_t length)>& visit);

}  // namespace holdfast::format
