#include "impl/protocol/read_plan.h"

#include <algorithm>

#include "impl/core/mutate.h"

namespace holdfast::protocol {
namespace {

constexpr std::uint64_t page_bytes = format::segment_alignment;

std::uint64_t page_down(std::uint64_t offset) { return offset / page_bytes * page_bytes; }
std::uint64_t page_up(std::uint64_t offset) { return page_down(offset + page_bytes - 1); }

/// Where the piece that holds file bytes [begin, ...) goes: to the window's last piece when that ends in or at their first page.
bool joins_last(const ReadPlan::Window& window, std::uint64_t begin) {
  return !window.pieces.empty() && page_down(begin) <= page_up(window.pieces.back().offset + window.pieces.back().bytes);
}

std::uint64_t memory_with(const ReadPlan::Window& window, std::uint64_t begin, std::uint64_t end) {
  if (!joins_last(window, begin)) return window.memory_bytes + page_up(end) - page_down(begin);
  return window.pieces.back().at + page_up(end) - window.pieces.back().offset;
}

/// Whether an element of the window's last block goes on in `block`.
bool cuts_element(const ReadPlan::Window& window, const format::SegmentLayout& layout, std::size_t number) {
  const format::SegmentBlock block = layout.block(number);
  const ReadPlan::Run& last = window.runs.back();
  const format::SegmentTensor& tensor = layout.tensors[block.tensor];
  return last.tensor == block.tensor && last.end_block == number && (block.offset - tensor.offset) % size_bytes(tensor.dtype) != 0;
}

void add_block(ReadPlan::Window& window, const format::SegmentLayout& layout, std::size_t number) {
  const format::SegmentBlock block = layout.block(number);
  const std::uint64_t begin = layout.header_bytes + block.offset, end = begin + block.bytes;
  const std::uint64_t memory_bytes = memory_with(window, begin, end);
  if (!joins_last(window, begin)) window.pieces.push_back({page_down(begin), 0, window.memory_bytes});
  ReadPlan::Piece& piece = window.pieces.back();
  piece.bytes = std::min(page_up(end), layout.file_bytes()) - piece.offset;
  window.memory_bytes = memory_bytes;
  const bool goes_on = !window.runs.empty() && window.runs.back().tensor == block.tensor && window.runs.back().end_block == number;
  if (!goes_on) window.runs.push_back({block.tensor, number, number, block.offset, block.offset, piece.at + begin - piece.offset});
  window.runs.back().end_block = number + 1;
  window.runs.back().end = block.offset + block.bytes;
}

}  // namespace

void add_reads(std::size_t source, const format::SegmentLayout& layout, const std::vector<bool>& wanted, std::uint64_t window_bytes,
               ReadPlan& plan, std::size_t first) {
  const std::size_t before = plan.windows.size();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i]) continue;
    const std::size_t number = first + i;
    const format::SegmentBlock block = layout.block(number);
    const std::uint64_t begin = layout.header_bytes + block.offset;
    const auto fits = [&](const ReadPlan::Window& last) {
      return memory_with(last, begin, begin + block.bytes) <= window_bytes ||
             MUTATE("read_plan.cuts_elements", cuts_element(last, layout, number), false);
    };
    if (plan.windows.size() == before || !fits(plan.windows.back())) plan.windows.push_back({source, {}, {}, 0});
    add_block(plan.windows.back(), layout, number);
  }
  for (std::size_t i = before; i < plan.windows.size(); ++i) {
    for (const ReadPlan::Piece& piece : plan.windows[i].pieces) plan.bytes += piece.bytes;
  }
}

}  // namespace holdfast::protocol
