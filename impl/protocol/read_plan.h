// Which bytes of segments are read to have certain blocks, in what portions, and where in memory they come to lie. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "impl/format/segment.h"

namespace holdfast::protocol {

struct ReadPlan {
  /// Consecutive blocks of one tensor of a segment: bytes [begin, end) of its data area. They come to lie in memory as they lie in the file.
  struct Run {
    std::size_t tensor = 0;
    std::size_t first_block = 0, end_block = 0;
    std::uint64_t begin = 0, end = 0;
    std::uint64_t at = 0;  ///< of byte `begin`, in the window's memory
  };
  /// Bytes of a file, whole pages but for its end, and where they go: to the same place within a page, so that a direct read needs no copy.
  struct Piece {
    std::uint64_t offset = 0, bytes = 0;
    std::uint64_t at = 0;
  };
  /// What is read in one call, into memory of its own: whole blocks.
  struct Window {
    std::size_t source = 0;     ///< number of the segment
    std::vector<Run> runs;      ///< ascending
    std::vector<Piece> pieces;  ///< ascending
    std::uint64_t memory_bytes = 0;
  };

  std::vector<Window> windows;  ///< by source, then by place
  std::uint64_t bytes = 0;      ///< of all pieces
};

/// Adds the windows of one more segment, number `source`: of its blocks number first + i with wanted[i]. A window takes at most `window_bytes` of memory, unless it
/// holds one block, or an element goes on in the next block: wanted neighbours that share an element are in one window. Neighbouring blocks that share a page are
/// read at once, unless a window ends between them.
void add_reads(std::size_t source, const format::SegmentLayout& layout, const std::vector<bool>& wanted, std::uint64_t window_bytes,
               ReadPlan& plan, std::size_t first = 0);

}  // namespace holdfast::protocol
