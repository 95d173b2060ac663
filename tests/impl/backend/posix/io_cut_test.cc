// Exhaustively in small: an alignment of 4 bytes, every offset, length and place in memory.
#include "impl/backend/posix/io_cut.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace holdfast::backend {
namespace {

constexpr CutRules rules{.alignment = 4, .request_bytes = 8, .bounce_bytes = 12, .bounce_minimum = 8};

std::byte* at(std::uint64_t address) { return reinterpret_cast<std::byte*>(address); }
std::uint64_t address(const FileSpan& span) { return reinterpret_cast<std::uint64_t>(span.memory); }

template <typename Check>
void for_every_span(Check check) {
  for (std::uint64_t offset = 0; offset < 9; ++offset) {
    for (std::uint64_t bytes = 1; bytes < 45; ++bytes) {
      for (std::uint64_t memory = 0; memory < 4; ++memory) check(FileSpan{offset, at(1000 + memory), bytes});
    }
  }
}

/// The parts are the span, each byte once, with the memory that belongs to it.
void expect_covers(std::vector<IoPart> parts, const FileSpan& span) {
  std::ranges::sort(parts, {}, [](const IoPart& part) { return part.span.offset; });
  std::uint64_t next = span.offset;
  for (const IoPart& part : parts) {
    EXPECT_EQ(part.span.offset, next);
    EXPECT_EQ(address(part.span) - address(span), part.span.offset - span.offset);
    EXPECT_GT(part.span.bytes, 0u);
    next = part.span.end();
  }
  EXPECT_EQ(next, span.end());
}

void expect_direct_is_aligned(const IoPart& part) {
  EXPECT_EQ(part.span.offset % 4, 0u);
  EXPECT_EQ(part.span.bytes % 4, 0u);
  EXPECT_EQ(address(part.span) % 4, 0u);
  EXPECT_LE(part.span.bytes, rules.request_bytes);
}

std::uint64_t bytes_that_go(IoWay way, const std::vector<IoPart>& parts) {
  std::uint64_t bytes = 0;
  for (const IoPart& part : parts) bytes += part.way == way ? part.span.bytes : 0;
  return bytes;
}

TEST(IoCut, AReadIsCoveredOnceAndNeverBuffered) {
  for_every_span([](const FileSpan& span) {
    const std::vector<IoPart> parts = cut_read({span}, rules);
    expect_covers(parts, span);
    for (const IoPart& part : parts) {
      if (part.way == IoWay::direct) {
        expect_direct_is_aligned(part);
        continue;
      }
      EXPECT_EQ(part.way, IoWay::bounced);
      const std::uint64_t window = (part.span.end() + 3) / 4 * 4 - part.span.offset / 4 * 4;
      EXPECT_LE(window, rules.bounce_bytes);
    }
  });
}

TEST(IoCut, AWriteIsCoveredOnceAndItsWaysMeetInNoPage) {
  for_every_span([](const FileSpan& span) {
    const std::vector<IoPart> parts = cut_write({span}, rules);
    expect_covers(parts, span);
    bool buffered_seen = false;
    for (const IoPart& part : parts) {
      if (part.way == IoWay::direct) expect_direct_is_aligned(part);
      if (part.way == IoWay::bounced) {
        EXPECT_EQ(part.span.offset % 4, 0u);
        EXPECT_EQ(part.span.bytes % 4, 0u);
        EXPECT_LE(part.span.bytes, rules.bounce_bytes);
      }
      EXPECT_FALSE(buffered_seen && part.way != IoWay::buffered) << "a buffered part before another";
      buffered_seen = buffered_seen || part.way == IoWay::buffered;
      if (part.way != IoWay::buffered) continue;
      for (const IoPart& other : parts) {
        if (other.way == IoWay::buffered) continue;
        EXPECT_TRUE((part.span.end() - 1) / 4 < other.span.offset / 4 || (other.span.end() - 1) / 4 < part.span.offset / 4);
      }
    }
  });
}

TEST(IoCut, AllButTheEndsGoesPastThePageCache) {
  for_every_span([](const FileSpan& span) {
    const bool alike = address(span) % 4 == span.offset % 4;
    const std::uint64_t low = (span.offset + 3) / 4 * 4, high = span.end() / 4 * 4;
    const std::uint64_t whole = high > low ? high - low : 0;
    EXPECT_EQ(bytes_that_go(IoWay::direct, cut_read({span}, rules)), alike ? whole : 0);
    const std::vector<IoPart> written = cut_write({span}, rules);
    EXPECT_EQ(bytes_that_go(IoWay::direct, written), alike ? whole : 0);
    EXPECT_EQ(bytes_that_go(IoWay::bounced, written), !alike && whole >= rules.bounce_minimum ? whole : 0);
  });
}

TEST(IoCut, WithoutAlignmentEverythingIsBuffered) {
  const CutRules plain{.alignment = 1, .request_bytes = 8, .bounce_bytes = 12, .bounce_minimum = 8};
  for_every_span([&](const FileSpan& span) {
    for (const std::vector<IoPart>& parts : {cut_read({span}, plain), cut_write({span}, plain)}) {
      expect_covers(parts, span);
      EXPECT_EQ(bytes_that_go(IoWay::buffered, parts), span.bytes);
      EXPECT_EQ(parts.size(), (span.bytes + 7) / 8);
    }
  });
}

TEST(IoCut, NeighboursInFileAndMemoryAreOne) {
  const std::vector<FileSpan> spans = {{0, at(100), 4}, {4, at(104), 2}, {6, at(0), 0}, {6, at(106), 1}, {7, at(200), 1}, {9, at(201), 1}};
  EXPECT_EQ(join_neighbours(spans), (std::vector<FileSpan>{{0, at(100), 7}, {7, at(200), 1}, {9, at(201), 1}}));
  EXPECT_TRUE(join_neighbours({}).empty());
}

TEST(IoCut, SeesAnOverlap) {
  EXPECT_FALSE(overlap({}));
  EXPECT_FALSE(overlap({{8, at(0), 4}, {0, at(0), 4}, {4, at(0), 4}}));
  EXPECT_FALSE(overlap({{2, at(0), 0}, {0, at(0), 4}}));
  EXPECT_TRUE(overlap({{8, at(0), 4}, {0, at(0), 9}}));
  EXPECT_TRUE(overlap({{0, at(0), 9}, {3, at(0), 1}}));
}

}  // namespace
}  // namespace holdfast::backend
