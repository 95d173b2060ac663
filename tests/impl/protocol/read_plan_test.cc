#include "impl/protocol/read_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace holdfast::protocol {
namespace {

constexpr std::uint64_t page = 4096;

/// Tensors of u8 with so many bytes each.
format::SegmentLayout layout_of(const std::vector<std::int64_t>& bytes, std::uint32_t block_bytes) {
  std::vector<format::SegmentTensor> tensors;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    tensors.push_back({fmt::format("t{}", i), DType::u8, {bytes[i]}, {{0}, {bytes[i]}}, 0, 0, 0});
  return format::lay_out_segment(std::move(tensors), block_bytes).value();
}

ReadPlan plan_of(const format::SegmentLayout& layout, const std::vector<bool>& wanted, std::uint64_t window_bytes) {
  ReadPlan plan;
  add_reads(0, layout, wanted, window_bytes, plan);
  return plan;
}

/// Each byte of a run is read to its place.
void check_run(const format::SegmentLayout& layout, const ReadPlan::Window& window, const ReadPlan::Run& run) {
  for (std::uint64_t at = run.begin; at < run.end; at += 512) {  // a page is read whole or not at all
    const std::uint64_t in_file = layout.header_bytes + at;
    const auto holds = [&](const ReadPlan::Piece& piece) {
      return in_file >= piece.offset && in_file < piece.offset + piece.bytes &&
             run.at + at - run.begin == piece.at + in_file - piece.offset;
    };
    ASSERT_TRUE(std::ranges::any_of(window.pieces, holds)) << "byte " << at;
  }
}

/// What a plan must be, whatever is wanted.
void check(const format::SegmentLayout& layout, const std::vector<bool>& wanted, std::uint64_t window_bytes, const ReadPlan& plan) {
  const std::uint64_t end = layout.file_bytes();
  std::uint64_t bytes = 0;
  std::vector<bool> held(wanted.size(), false);
  std::size_t next = 0;
  for (const ReadPlan::Window& window : plan.windows) {
    std::uint64_t memory = 0;
    for (const ReadPlan::Piece& piece : window.pieces) {
      EXPECT_EQ(piece.offset % page, 0u);
      EXPECT_EQ(piece.at % page, 0u);
      EXPECT_GE(piece.at, memory);
      EXPECT_TRUE(piece.bytes % page == 0 || piece.offset + piece.bytes == end);
      memory = piece.at + piece.bytes;
      bytes += piece.bytes;
    }
    EXPECT_LE(memory, window.memory_bytes);
    std::size_t blocks = 0;
    for (const ReadPlan::Run& run : window.runs) {
      EXPECT_GE(run.first_block, next);
      EXPECT_EQ(run.begin, layout.block(run.first_block).offset);
      const format::SegmentBlock last = layout.block(run.end_block - 1);
      EXPECT_EQ(run.end, last.offset + last.bytes);
      EXPECT_EQ(run.tensor, layout.block(run.first_block).tensor);
      EXPECT_EQ(run.tensor, last.tensor);
      for (next = run.first_block; next < run.end_block; ++next, ++blocks) held[next] = true;
      check_run(layout, window, run);
    }
    EXPECT_TRUE(blocks == 1 || window.memory_bytes <= window_bytes);
  }
  EXPECT_EQ(bytes, plan.bytes);
  EXPECT_EQ(held, wanted);
}

TEST(ReadPlan, EveryChoiceOfBlocksIsReadWholeToPlacesOfItsOwn) {
  const format::SegmentLayout layout = layout_of({5000, 0, 9000, 100, 12000}, 3000);
  ASSERT_EQ(layout.block_count(), 10u);
  for (const std::uint64_t window_bytes : {std::uint64_t{1}, page, 2 * page, 3 * page, std::uint64_t{8} << 20}) {
    for (unsigned chosen = 0; chosen < 1u << 10; ++chosen) {
      std::vector<bool> wanted(10);
      for (unsigned block = 0; block < 10; ++block) wanted[block] = (chosen >> block & 1) != 0;
      check(layout, wanted, window_bytes, plan_of(layout, wanted, window_bytes));
    }
  }
}

TEST(ReadPlan, NeighboursThatShareAPageAreReadOnce) {
  const format::SegmentLayout layout = layout_of({100, 100, 20000}, 64);
  std::vector<bool> wanted(layout.block_count(), false);
  wanted[0] = wanted[3] = true;  // 64 bytes of the first tensor, 36 of the second, in one page
  const ReadPlan plan = plan_of(layout, wanted, 8 << 20);
  ASSERT_EQ(plan.windows.size(), 1u);
  EXPECT_EQ(plan.windows[0].runs.size(), 2u);
  EXPECT_EQ(plan.windows[0].pieces.size(), 1u);
  EXPECT_EQ(plan.bytes, page);
}

TEST(ReadPlan, ATensorOnPagesOfItsOwnCostsNoByteMore) {
  const format::SegmentLayout layout = layout_of({4 * 65536, 65536}, 65536);
  const std::vector<bool> wanted{true, true, true, true, false};
  EXPECT_EQ(plan_of(layout, wanted, 2 * 65536).bytes, 4u * 65536);  // in two windows
}

TEST(ReadPlan, WindowsEndBetweenBlocks) {
  const format::SegmentLayout layout = layout_of({3 * 4096, 4096, 4096}, 4096);
  const ReadPlan plan = plan_of(layout, std::vector<bool>(5, true), 2 * 4096);
  ASSERT_EQ(plan.windows.size(), 3u);
  EXPECT_EQ(plan.windows[0].runs.size(), 1u);
  ASSERT_EQ(plan.windows[1].runs.size(), 2u);  // the first tensor's last block, and the second tensor
  EXPECT_EQ(plan.windows[1].runs[1].at, 4096u);
  EXPECT_EQ(plan.windows[2].memory_bytes, 4096u);
}

TEST(ReadPlan, WindowsDoNotEndWithinAnElement) {
  const Dims shape{5000};
  const format::SegmentLayout layout = format::lay_out_segment({{"t", DType::f32, shape, {{0}, shape}, 0, 0, 0}}, 1001).value();
  const ReadPlan plan = plan_of(layout, std::vector<bool>(layout.block_count(), true), page);
  ASSERT_GT(plan.windows.size(), 2u);
  for (const ReadPlan::Window& window : plan.windows) EXPECT_EQ(window.runs[0].begin % 4, 0u);
  std::vector<bool> apart(layout.block_count(), true);
  apart[2] = false;  // what the blocks beside it hold in part, nobody wants
  EXPECT_EQ(plan_of(layout, apart, 1 << 20).windows[0].runs.size(), 2u);
}

}  // namespace
}  // namespace holdfast::protocol
