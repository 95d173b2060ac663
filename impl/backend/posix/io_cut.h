// Pure: how the pieces of a read or a write are cut into requests, and which way each goes.
//
//   file     |........|........|........|........|     multiples of the alignment
//   piece         [-----------------------------)
//   parts         [edge)[--- interior ---)[edge)
//
// direct    memory and offset are multiples of the alignment, and so is the length: the device reads or fills the caller's memory.
// bounced   by the device too, but into aligned memory of ours, and copied. A read fetches the whole multiples around the part.
// buffered  through the page cache.
//
// A write's edges go through the page cache, the rest past it. The two do not meet: a direct or bounced write covers whole pages, all bytes
// of which are the caller's, and an edge's page is never covered whole by a piece, so that two ways meet in a page only where the caller
// writes the same bytes twice at once. Between calls the kernel keeps order: a direct write first writes back and drops the pages it
// covers, a direct read first writes back what it reads. The other choice, to pad the last sector and truncate, would need to know that no
// one else writes the file beyond, and would read and rewrite sectors that two pieces share, under a lock of our own. A read has no
// buffered part where the alignment is not 1: what is loaded was read from the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace holdfast::backend {

/// Bytes of memory that belong at an offset of a file.
struct FileSpan {
  std::uint64_t offset = 0;
  std::byte* memory = nullptr;
  std::uint64_t bytes = 0;
  std::uint64_t end() const { return offset + bytes; }
  bool operator==(const FileSpan&) const = default;
};

enum class IoWay : std::uint8_t { direct, bounced, buffered };

struct IoPart {
  IoWay way = IoWay::buffered;
  FileSpan span;
  bool operator==(const IoPart&) const = default;
};

struct CutRules {
  std::uint64_t alignment = 1;      ///< a power of two; 1: everything is buffered
  std::uint64_t request_bytes = 0;  ///< of a direct or buffered part at most; a multiple of the alignment
  std::uint64_t bounce_bytes =
      0;  ///< of a bounced part at most, with what a read fetches around it; a multiple, of two alignments at least
  std::uint64_t bounce_minimum = 0;  ///< a write that would bounce less is buffered: small writes are cheaper there
};

/// Neighbours that continue each other in the file and in memory become one; the empty ones go.
std::vector<FileSpan> join_neighbours(const std::vector<FileSpan>& spans);
/// Do two of them share a byte of the file?
bool overlap(std::vector<FileSpan> spans);

/// Ascending within each span, in the order of the spans.
std::vector<IoPart> cut_read(const std::vector<FileSpan>& spans, const CutRules& rules);
/// The same, but with the buffered parts after all others: while these run the page cache holds none of the file's bytes that they might
/// meet.
std::vector<IoPart> cut_write(const std::vector<FileSpan>& spans, const CutRules& rules);

}  // namespace holdfast::backend
