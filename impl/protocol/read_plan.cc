#include "impl/protocol/read_plan.h"

#include <algorithm>

namespace holdfast::protocol {
namespace {

constexpr std::uint64_t page_bytes = format::segment_alignment;

std::uint64_t page_down(std::uint64_t offset) { return offset / page_bytes * page_bytes; }
std::uint64_t page_up(std::uint64_t offset) { return page_down(offset + page_bytes - 1); }

/// The runs of one segment, with an arena for each but no place in it. `bytes` of arena `arena` are taken already.
std::vector<ReadPlan::Run> runs_of(const format::SegmentLayout& layout, const std::vector<bool>& wanted, std::uint64_t arena_bytes_max,
                                   std::size_t source, std::size_t arena, std::uint64_t bytes) {
  std::vector<ReadPlan::Run> runs;
  for (std::size_t number = 0; number < wanted.size(); ++number) {
    if (!wanted[number]) continue;
    const format::SegmentBlock block = layout.block(number);
    const bool joins = !runs.empty() && runs.back().end_block == number;
    const bool tensor_begins = block.offset == layout.tensors[block.tensor].offset;
    if (!joins || (tensor_begins && bytes >= arena_bytes_max)) {
      if (bytes >= arena_bytes_max) {
        ++arena;
        bytes = 0;
      }
      runs.push_back({source, number, number, block.offset, block.offset, arena, 0});
    }
    runs.back().end_block = number + 1;
    runs.back().end = block.offset + block.bytes;
    bytes += block.bytes;
  }
  return runs;
}

/// Whole pages around the runs; each run gets its place, each arena its length.
std::vector<ReadPlan::Piece> spans_of(const format::SegmentLayout& layout, std::vector<ReadPlan::Run>& runs,
                                      std::vector<std::uint64_t>& arena_bytes) {
  std::vector<ReadPlan::Piece> spans;
  for (ReadPlan::Run& run : runs) {
    const std::uint64_t begin = layout.header_bytes + run.begin;
    const std::uint64_t end = std::min(page_up(layout.header_bytes + run.end), layout.file_bytes());
    const bool joins = !spans.empty() && spans.back().arena == run.arena && page_down(begin) <= spans.back().offset + spans.back().bytes;
    if (arena_bytes.size() <= run.arena) arena_bytes.resize(run.arena + 1);
    if (!joins) spans.push_back({page_down(begin), 0, run.arena, arena_bytes[run.arena]});
    ReadPlan::Piece& span = spans.back();
    span.bytes = end - span.offset;
    run.arena_offset = span.arena_offset + (begin - span.offset);
    arena_bytes[run.arena] = span.arena_offset + page_up(span.bytes);
  }
  return spans;
}

}  // namespace

void add_reads(std::size_t source, const format::SegmentLayout& layout, const std::vector<bool>& wanted, const ReadPlanLimits& limits,
               ReadPlan& plan) {
  const std::size_t arena = plan.arena_bytes.empty() ? 0 : plan.arena_bytes.size() - 1;
  std::vector<ReadPlan::Run> runs =
      runs_of(layout, wanted, limits.arena_bytes, source, arena, plan.arena_bytes.empty() ? 0 : plan.arena_bytes.back());
  std::uint64_t room = 0;  // in the last read
  for (const ReadPlan::Piece& span : spans_of(layout, runs, plan.arena_bytes)) {
    for (std::uint64_t done = 0; done < span.bytes;) {
      if (room == 0) {
        plan.reads.push_back({source, {}});
        room = std::max(page_down(limits.read_bytes), page_bytes);
      }
      const std::uint64_t bytes = std::min(room, span.bytes - done);
      plan.reads.back().pieces.push_back({span.offset + done, bytes, span.arena, span.arena_offset + done});
      done += bytes;
      room -= std::min(room, page_up(bytes));
      plan.bytes += bytes;
    }
  }
  plan.runs.insert(plan.runs.end(), runs.begin(), runs.end());
}

}  // namespace holdfast::protocol
