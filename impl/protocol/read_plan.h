// Which bytes of segments are read to have certain blocks, in what portions, and where in memory they come to lie. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "impl/format/segment.h"

namespace holdfast::protocol {

struct ReadPlan {
  /// Consecutive blocks of a segment: bytes [begin, end) of its data area. They come to lie in memory as they lie in the file.
  struct Run {
    std::size_t source = 0;  ///< number of the segment
    std::size_t first_block = 0, end_block = 0;
    std::uint64_t begin = 0, end = 0;
    std::size_t arena = 0;
    std::uint64_t arena_offset = 0;  ///< of byte `begin`
  };
  /// Bytes of a file, whole pages but for its end, and the arena bytes they go to, which lie alike within a page: so a direct read needs no copy.
  struct Piece {
    std::uint64_t offset = 0, bytes = 0;
    std::size_t arena = 0;
    std::uint64_t arena_offset = 0;
  };
  /// What is read in one call.
  struct Read {
    std::size_t source = 0;
    std::vector<Piece> pieces;  ///< ascending
  };

  std::vector<Run> runs;    ///< by source, then by place
  std::vector<Read> reads;  ///< in the order of their places in memory, which is that of the runs
  std::vector<std::uint64_t> arena_bytes;
  std::uint64_t bytes = 0;  ///< of all reads
};

struct ReadPlanLimits {
  std::uint64_t read_bytes = 8 << 20;    ///< of one read; at least a page
  std::uint64_t arena_bytes = 64 << 20;  ///< an arena that is longer ends at the next tensor
};

/// Adds the reads of one more segment, number `source`: of its blocks number i with wanted[i]. Blocks of one tensor that follow each other are one run. Neighbouring runs
/// that share a page are read at once.
void add_reads(std::size_t source, const format::SegmentLayout& layout, const std::vector<bool>& wanted, const ReadPlanLimits& limits,
               ReadPlan& plan);

}  // namespace holdfast::protocol
