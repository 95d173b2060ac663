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

ReadPlan plan_of(const format::SegmentLayout& layout, const std::vector<bool>& wanted, const ReadPlanLimits& limits) {
  ReadPlan plan;
  add_reads(0, layout, wanted, limits, plan);
  return plan;
}

/// What a plan must be, whatever is wanted.
void check(const format::SegmentLayout& layout, const std::vector<bool>& wanted, const ReadPlanLimits& limits, const ReadPlan& plan) {
  const std::uint64_t end = layout.file_bytes();
  std::uint64_t bytes = 0;
  std::vector<std::pair<std::uint64_t, const ReadPlan::Piece*>> places;  // in memory, by arena
  for (const ReadPlan::Read& read : plan.reads) {
    std::uint64_t of_read = 0;
    for (const ReadPlan::Piece& piece : read.pieces) {
      EXPECT_EQ(piece.offset % page, 0u);
      EXPECT_EQ(piece.arena_offset % page, 0u);
      EXPECT_TRUE(piece.bytes % page == 0 || piece.offset + piece.bytes == end);
      ASSERT_LT(piece.arena, plan.arena_bytes.size());
      EXPECT_LE(piece.arena_offset + piece.bytes, plan.arena_bytes[piece.arena]);
      places.emplace_back(piece.arena * (std::uint64_t{1} << 40) + piece.arena_offset, &piece);
      of_read += piece.bytes;
    }
    EXPECT_LE(of_read, std::max(limits.read_bytes, page));
    bytes += of_read;
  }
  EXPECT_EQ(bytes, plan.bytes);
  EXPECT_TRUE(std::ranges::is_sorted(places, {}, [](const auto& place) { return place.first; }))
      << "memory fills in the order of the reads";
  std::ranges::sort(places, {}, [](const auto& place) { return place.first; });
  for (std::size_t i = 1; i < places.size(); ++i) EXPECT_LE(places[i - 1].first + places[i - 1].second->bytes, places[i].first);

  std::vector<bool> held(wanted.size(), false);
  for (const ReadPlan::Run& run : plan.runs) {
    EXPECT_EQ(run.begin, layout.block(run.first_block).offset);
    const format::SegmentBlock last = layout.block(run.end_block - 1);
    EXPECT_EQ(run.end, last.offset + last.bytes);
    for (std::size_t block = run.first_block; block < run.end_block; ++block) held[block] = true;
    // Each byte of the run is read to its place.
    for (std::uint64_t at = run.begin; at < run.end; ++at) {
      const std::uint64_t in_file = layout.header_bytes + at;
      const std::uint64_t in_arena = run.arena_offset + (at - run.begin);
      const auto holds = [&](const auto& place) {
        const ReadPlan::Piece& piece = *place.second;
        return piece.arena == run.arena && in_file >= piece.offset && in_file < piece.offset + piece.bytes &&
               in_arena == piece.arena_offset + (in_file - piece.offset);
      };
      ASSERT_TRUE(std::ranges::any_of(places, holds)) << "byte " << at;
      at += 512;  // a page is read whole or not at all
    }
  }
  EXPECT_EQ(held, wanted);
}

TEST(ReadPlan, EveryChoiceOfBlocksIsReadWholeToPlacesOfItsOwn) {
  const format::SegmentLayout layout = layout_of({5000, 0, 9000, 100, 12000}, 3000);
  ASSERT_EQ(layout.block_count(), 10u);
  for (const ReadPlanLimits& limits : {ReadPlanLimits{page, page}, ReadPlanLimits{2 * page, 1}, ReadPlanLimits{}}) {
    for (unsigned chosen = 0; chosen < 1u << 10; ++chosen) {
      std::vector<bool> wanted(10);
      for (unsigned block = 0; block < 10; ++block) wanted[block] = (chosen >> block & 1) != 0;
      check(layout, wanted, limits, plan_of(layout, wanted, limits));
    }
  }
}

TEST(ReadPlan, NeighboursThatShareAPageAreReadOnce) {
  const format::SegmentLayout layout = layout_of({100, 100, 20000}, 64);
  std::vector<bool> wanted(layout.block_count(), false);
  wanted[0] = wanted[3] = true;  // 64 bytes of the first tensor, 36 of the second, in one page
  const ReadPlan plan = plan_of(layout, wanted, {});
  EXPECT_EQ(plan.runs.size(), 2u);
  ASSERT_EQ(plan.reads.size(), 1u);
  EXPECT_EQ(plan.reads[0].pieces.size(), 1u);
  EXPECT_EQ(plan.bytes, page);
}

TEST(ReadPlan, ATensorOnPagesOfItsOwnCostsNoByteMore) {
  const format::SegmentLayout layout = layout_of({4 * 65536, 65536}, 65536);
  const std::vector<bool> wanted{true, true, true, true, false};
  EXPECT_EQ(plan_of(layout, wanted, {}).bytes, 4u * 65536);
}

TEST(ReadPlan, ArenasEndWhereATensorBegins) {
  const format::SegmentLayout layout = layout_of({3 * 4096, 4096, 4096}, 4096);
  const ReadPlan plan = plan_of(layout, std::vector<bool>(5, true), {8 << 20, 4096});
  ASSERT_EQ(plan.runs.size(), 3u);
  EXPECT_EQ(plan.runs[0].end, 3u * 4096);  // never within a tensor: its bytes stay together
  EXPECT_EQ(plan.arena_bytes, (std::vector<std::uint64_t>{3 * 4096, 4096, 4096}));
}

}  // namespace
}  // namespace holdfast::protocol
