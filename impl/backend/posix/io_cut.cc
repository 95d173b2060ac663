#include "impl/backend/posix/io_cut.h"

#include <algorithm>

#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

std::uint64_t down(std::uint64_t value, std::uint64_t alignment) { return value / alignment * alignment; }
std::uint64_t up(std::uint64_t value, std::uint64_t alignment) { return down(value + alignment - 1, alignment); }

/// Can the device not take the memory as it lies?
bool skewed(const FileSpan& span, std::uint64_t alignment) {
  return (reinterpret_cast<std::uintptr_t>(span.memory) - span.offset) % alignment != 0;
}

/// Adds the bytes [begin, end) of the file, which are in `whole`, cut at grid + n * bytes_max.
void add(std::vector<IoPart>& parts, IoWay way, const FileSpan& whole, std::uint64_t begin, std::uint64_t end, std::uint64_t grid,
         std::uint64_t bytes_max) {
  while (begin < end) {
    const std::uint64_t cut = std::min(end, grid + down(begin - grid, bytes_max) + bytes_max);
    parts.push_back({way, {begin, whole.memory + (begin - whole.offset), cut - begin}});
    begin = cut;
  }
}

}  // namespace

std::vector<FileSpan> join_neighbours(const std::vector<FileSpan>& spans) {
  std::vector<FileSpan> joined;
  for (const FileSpan& span : spans) {
    if (span.bytes == 0) continue;
    if (!joined.empty() && joined.back().end() == span.offset && joined.back().memory + joined.back().bytes == span.memory) {
      joined.back().bytes += span.bytes;
    } else {
      joined.push_back(span);
    }
  }
  return joined;
}

bool overlap(std::vector<FileSpan> spans) {
  std::erase_if(spans, [](const FileSpan& span) { return span.bytes == 0; });
  std::ranges::sort(spans, {}, &FileSpan::offset);
  return std::ranges::adjacent_find(spans, [](const FileSpan& a, const FileSpan& b) { return a.end() > b.offset; }) != spans.end();
}

std::vector<IoPart> cut_read(const std::vector<FileSpan>& spans, const CutRules& rules) {
  std::vector<IoPart> parts;
  for (const FileSpan& span : spans) {
    const std::uint64_t end = span.end();
    const std::uint64_t low = std::min(end, up(span.offset, rules.alignment));
    const std::uint64_t high = std::max(low, down(end, rules.alignment));
    const std::uint64_t window = down(span.offset, rules.alignment);
    if (rules.alignment == 1) {
      add(parts, IoWay::buffered, span, span.offset, end, span.offset, rules.request_bytes);
    } else if (skewed(span, rules.alignment)) {
      add(parts, IoWay::bounced, span, span.offset, end, window, rules.bounce_bytes);
    } else {
      add(parts, IoWay::bounced, span, span.offset, low, window, rules.bounce_bytes);
      add(parts, IoWay::direct, span, low, high, low, rules.request_bytes);
      add(parts, IoWay::bounced, span, high, end, high, rules.bounce_bytes);
    }
  }
  return parts;
}

std::vector<IoPart> cut_write(const std::vector<FileSpan>& spans, const CutRules& rules) {
  std::vector<IoPart> parts, buffered;
  for (const FileSpan& span : spans) {
    const std::uint64_t low = up(span.offset, rules.alignment);
    const std::uint64_t high = down(span.end(), rules.alignment);
    const bool bounce = skewed(span, rules.alignment);
    if (rules.alignment == 1 || high <= low || (bounce && high - low < rules.bounce_minimum)) {
      add(buffered, IoWay::buffered, span, span.offset, span.end(), span.offset, rules.request_bytes);
      continue;
    }
    add(parts, bounce ? IoWay::bounced : IoWay::direct, span, low, high, low, bounce ? rules.bounce_bytes : rules.request_bytes);
    add(buffered, IoWay::buffered, span, span.offset, low, span.offset, rules.request_bytes);
    add(buffered, IoWay::buffered, span, high, MUTATE("posix.tail_left_out", span.end(), high), high, rules.request_bytes);
  }
  parts.insert(parts.end(), buffered.begin(), buffered.end());
  return parts;
}

}  // namespace holdfast::backend
