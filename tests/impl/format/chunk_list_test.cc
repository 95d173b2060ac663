#include "impl/format/chunk_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/impl/core/random.h"

namespace holdfast::format {
namespace {

using holdfast::testing::Random;
using Placed = std::map<std::uint32_t, Box>;

Dims draw_dims(Random& random, const Dims& below) {
  Dims dims;
  for (const std::int64_t bound : below) dims.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound))));
  return dims;
}

/// Any boxes in any segments, overlapping and empty ones too.
Placed draw_chunks(Random& random, const Dims& shape) {
  Placed chunks;
  for (std::uint64_t left = random.below(20); left > 0; --left) {
    Box box{Dims(shape.size(), 0), Dims(shape.size(), 0)};
    for (std::size_t d = 0; d < shape.size(); ++d) {
      box.offset[d] = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(shape[d]) + 1));
      box.size[d] = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(shape[d] - box.offset[d]) + 1));
    }
    chunks.emplace(static_cast<std::uint32_t>(random.below(100)), box);
  }
  return chunks;
}

Bytes encode(const Placed& chunks, const Dims& shape) {
  std::vector<std::pair<Box, std::uint32_t>> sorted;
  for (const auto& [segment, box] : chunks) sorted.emplace_back(box, segment);
  std::ranges::sort(sorted);
  std::vector<Box> boxes;
  std::vector<std::uint32_t> segments;
  for (const auto& [box, segment] : sorted) {
    boxes.push_back(box);
    segments.push_back(segment);
  }
  Encoder out;
  put_chunk_list(out, shape, ChunkSet(boxes, shape), segments);
  return out.take();
}

Result<Placed> decode(ByteView bytes, const Dims& shape, std::uint64_t count, std::uint64_t segment_count) {
  Decoder in(bytes, "chunks");
  Placed chunks;
  TRY(take_chunk_list(in, shape, count, segment_count, [&](std::uint32_t segment, const Box& box) { chunks.emplace(segment, box); }));
  TRY(in.finish());
  return chunks;
}

TEST(ChunkList, GivesBackAnyBoxes) {
  Random random(1);
  for (int round = 0; round < 2000; ++round) {
    Dims shape = draw_dims(random, Dims(random.below(4), 200));
    const Placed chunks = draw_chunks(random, shape);
    const auto decoded = decode(encode(chunks, shape), shape, chunks.size(), 100);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(*decoded, chunks);
  }
}

TEST(ChunkList, AnyBytesGiveBoxesOfTheTensorOrAnError) {
  Random random(2);
  const Dims shape{7, 300, 5};
  int decoded = 0;
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes(random.below(30));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(random.below(2) ? 8 : 256));
    Decoder in(bytes, "chunks");
    std::int64_t last = -1;
    const Status taken = take_chunk_list(in, shape, 3, 50, [&](std::uint32_t segment, const Box& box) {
      EXPECT_TRUE(in_bounds(box, shape)) << to_string(box);
      EXPECT_GT(std::int64_t{segment}, last);
      EXPECT_LT(segment, 50u);
      last = segment;
    });
    decoded += taken.has_value();
  }
  EXPECT_GT(decoded, 100);
}

TEST(ChunkList, FlatRunsOfARankInThreeBoxesCostHalfOfWhatTheyAreAllowed) {
  // A [53248,16384] matrix in 128 runs that end anywhere: part of a row, whole rows, part of a row.
  const Dims shape{53248, 16384};
  std::vector<LocalBox> parts;
  Placed chunks;
  const std::int64_t run = 6815744 + 4711;
  for (std::uint32_t rank = 0; rank < 128; ++rank) {
    parts.clear();
    append_flat_range(whole(shape), rank * run, std::min((rank + 1) * run, volume({shape.data(), 2})), 0, parts);
    for (std::uint32_t k = 0; k < parts.size(); ++k) chunks.emplace(rank * 3 + k, parts[k].box);
  }
  EXPECT_GT(chunks.size(), 300u);
  EXPECT_LT(encode(chunks, shape).size(), chunks.size() * 5);
}

std::string refusal(const std::vector<int>& bytes, const Dims& shape, std::uint64_t count) {
  Bytes coded;
  for (const int byte : bytes) coded.push_back(static_cast<std::byte>(byte));
  const auto decoded = decode(coded, shape, count, 9);
  return decoded ? "" : decoded.error().message;
}

TEST(ChunkList, SaysWhatIsWrong) {
  EXPECT_EQ(refusal({8, 0x0a}, {4}, 1), "");  // begins at 0, reaches the end
  EXPECT_EQ(refusal({9, 0x0a}, {4}, 1), "chunk 0 in segment 0 + 9 of 9");
  EXPECT_EQ(refusal({8, 0x0a, 0, 0x00}, {4}, 2), "chunk 1 in segment 9 + 0 of 9");
  EXPECT_EQ(refusal({0, 0x0f, 5, 0}, {4}, 1), "chunk 0: 5+0 of 4 elements");
  EXPECT_EQ(refusal({0, 0x0f, 2, 3}, {4}, 1), "chunk 0: 2+3 of 4 elements");
  EXPECT_EQ(refusal({0, 0x0a, 0, 0x01}, {4}, 2), "chunk 1: 4+4 of 4 elements");  // the same size once more
  EXPECT_EQ(refusal({0, 0x0e, 2, 0, 0x07, 3}, {4}, 2), "chunk 1: 3+-1 of 4 elements");
  EXPECT_EQ(refusal({0, 0x0f, 2}, {4}, 1), "chunk 0: decode chunks: 1 bytes wanted at offset 3, 0 left");
}

Result<std::vector<std::uint32_t>> decode_segments(ByteView bytes, std::uint64_t count) {
  Decoder in(bytes, "segments");
  std::vector<std::uint32_t> segments;
  TRY(take_segments(in, count, 1000, [&](std::int64_t first, std::int64_t step, std::uint64_t length) {
    for (std::uint64_t i = 0; i < length; ++i) segments.push_back(static_cast<std::uint32_t>(first + step * static_cast<std::int64_t>(i)));
  }));
  TRY(in.finish());
  return segments;
}

TEST(ChunkList, SegmentsOfAGridComeInRuns) {
  const auto cost = [](const std::vector<std::uint32_t>& segments) {
    Encoder out;
    put_segments(out, segments);
    const auto decoded = decode_segments(out.bytes(), segments.size());
    EXPECT_EQ(decoded.value_or(std::vector<std::uint32_t>{}), segments);
    return out.size();
  };
  std::vector<std::uint32_t> even;
  for (std::uint32_t i = 0; i < 333; ++i) even.push_back(3 * i);
  EXPECT_EQ(cost(even), 1u + 1u + 2u);
  EXPECT_EQ(cost({999}), 2u);
  EXPECT_EQ(cost({9, 8, 7, 5, 3, 1}), 1u + 2u + 2u);
  Random random(3);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::uint32_t> any{static_cast<std::uint32_t>(random.below(1000))};
    for (std::uint64_t left = random.below(20); left > 0; --left) {
      const auto next = static_cast<std::uint32_t>(random.below(1000));
      if (next != any.back()) any.push_back(next);
    }
    cost(any);
  }
}

TEST(ChunkList, RunsStayAmongTheSegments) {
  const auto refused = [](std::uint64_t first, std::int64_t step, std::uint64_t length, std::uint64_t count) {
    Encoder out;
    out.varint(first);
    out.signed_varint(step);
    out.varint(length);
    const auto decoded = decode_segments(out.bytes(), count);
    return decoded ? "" : decoded.error().message;
  };
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(refused(0, 1, 999, 1000), "");
  EXPECT_EQ(refused(999, -1, 999, 1000), "");
  EXPECT_EQ(refused(1000, 1, 1, 2), "chunk 0 in segment 1000 of 1000");
  EXPECT_EQ(refused(1, 1, 999, 1000), "chunks 1 to 999 in steps of 1 from segment 1 of 1000");
  EXPECT_EQ(refused(0, 0, 1, 2), "chunks 1 to 1 in steps of 0 from segment 0 of 1000");
  EXPECT_EQ(refused(0, 1, 2, 2), "chunks 1 to 2 in steps of 1 from segment 0 of 1000");
  EXPECT_EQ(refused(0, most, 1, 2), fmt::format("chunks 1 to 1 in steps of {} from segment 0 of 1000", most));
  EXPECT_EQ(refused(999, -most - 1, 1, 2), fmt::format("chunks 1 to 1 in steps of {} from segment 999 of 1000", -most - 1));
  EXPECT_EQ(refused(999, -500, 2, 3), "chunks 1 to 2 in steps of -500 from segment 999 of 1000");
}

}  // namespace
}  // namespace holdfast::format
