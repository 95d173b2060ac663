#include "impl/core/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "impl/core/transfer.h"
#include "tests/impl/core/random.h"

namespace holdfast {
namespace {

using holdfast::testing::Random;

/// A block of `sizes` in `memory`, its dimensions laid out in `order` (outermost first), with `gap` elements after each innermost row.
StridedBlock block_in(Bytes& memory, const Dims& sizes, const std::vector<std::size_t>& order, std::int64_t gap,
                      std::uint32_t element_bytes) {
  StridedBlock block{nullptr, sizes, Dims(sizes.size(), 0), element_bytes, MemoryKind::host};
  std::int64_t stride = element_bytes;
  for (std::size_t i = order.size(); i-- > 0;) {
    block.strides_bytes[order[i]] = stride;
    stride *= sizes[order[i]];
    if (i + 1 == order.size()) stride += gap * element_bytes;
  }
  memory.assign(static_cast<std::size_t>(std::max<std::int64_t>(stride, 1)), std::byte{0xee});
  block.data = memory.data();
  return block;
}

template <typename Visit>
void for_each_element(const StridedBlock& block, Visit&& visit) {
  Dims index(block.sizes.size(), 0);
  for (std::int64_t i = 0; i < block.elements(); ++i) {
    std::byte* element = block.data;
    for (std::size_t d = 0; d < index.size(); ++d) element += index[d] * block.strides_bytes[d];
    visit(i, element);
    for (std::size_t d = index.size(); d-- > 0;) {
      if (++index[d] < block.sizes[d]) break;
      index[d] = 0;
    }
  }
}

TEST(Memory, CopyMovesEveryElementBetweenAnyTwoLayouts) {
  const std::vector<Dims> shapes = {{}, {0}, {5}, {2, 3}, {1, 4}, {3, 1, 2}, {2, 3, 4}, {2, 0, 3}};
  for (const Dims& shape : shapes) {
    std::vector<std::size_t> order(shape.size());
    std::iota(order.begin(), order.end(), 0u);
    std::vector<std::vector<std::size_t>> orders;
    do orders.push_back(order);
    while (std::ranges::next_permutation(order).found);
    for (const auto& from_order : orders) {
      for (const auto& to_order : orders) {
        for (const std::int64_t gap : {0, 2}) {
          Bytes from_memory, to_memory;
          const StridedBlock from = block_in(from_memory, shape, from_order, gap, 3);
          const StridedBlock to = block_in(to_memory, shape, to_order, 2 - gap, 3);
          for_each_element(from, [](std::int64_t i, std::byte* element) { std::fill_n(element, 3, static_cast<std::byte>(i)); });
          copy_block(from, to);
          std::size_t written = 0;
          for_each_element(to, [&](std::int64_t i, std::byte* element) {
            for (int b = 0; b < 3; ++b) EXPECT_EQ(element[b], static_cast<std::byte>(i));
            written += 3;
          });
          const auto untouched = static_cast<std::size_t>(std::ranges::count(to_memory, std::byte{0xee}));
          EXPECT_EQ(untouched, to_memory.size() - written) << "bytes outside the block changed";
        }
      }
    }
  }
}

TEST(Memory, CopiesPastTheCacheWhateverTheAlignment) {
  Bytes in(12000), out(12000);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::byte>(i * 7 + i / 256);
  for (const std::int64_t bytes : {1, 63, 4095, 4096, 4097, 4223, 9001}) {
    for (std::size_t from = 0; from < 70; from += 23) {
      for (std::size_t to = 0; to < 130; ++to) {
        std::ranges::fill(out, std::byte{0xee});
        copy_past_cache(packed_block(in.data() + from, {bytes}, 1), packed_block(out.data() + to, {bytes}, 1));
        ASSERT_TRUE(std::equal(in.begin() + from, in.begin() + from + bytes, out.begin() + to))
            << bytes << " from " << from << " to " << to;
        ASSERT_EQ(std::ranges::count(out.begin(), out.begin() + to, std::byte{0xee}), static_cast<std::ptrdiff_t>(to));
        ASSERT_EQ(std::ranges::count(out.begin() + to + bytes, out.end(), std::byte{0xee}), out.end() - (out.begin() + to + bytes));
      }
    }
  }
}

TEST(Memory, RunsAreMergedAndInOrder) {
  Bytes memory;
  std::vector<std::pair<std::int64_t, std::int64_t>> runs;
  const auto collect = [&](std::int64_t offset, std::int64_t elements) { runs.emplace_back(offset, elements); };
  for_each_run(block_in(memory, {2, 3, 4}, {0, 1, 2}, 0, 2), collect);
  EXPECT_EQ(runs, (std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 24}}));
  runs.clear();
  for_each_run(block_in(memory, {2, 2, 3}, {0, 1, 2}, 1, 2), collect);
  EXPECT_EQ(runs, (std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 3}, {8, 3}, {16, 3}, {24, 3}}));
  runs.clear();
  for_each_run(block_in(memory, {2, 0}, {0, 1}, 1, 2), collect);
  EXPECT_TRUE(runs.empty());
}

TEST(Memory, NarrowSelectsTheSubBlock) {
  Bytes memory;
  const StridedBlock block = block_in(memory, {4, 5}, {1, 0}, 1, 1);
  for_each_element(block, [](std::int64_t i, std::byte* element) { *element = static_cast<std::byte>(i); });
  std::vector<int> seen;
  for_each_element(narrow(block, {1, 2}, {2, 3}),
                   [&](std::int64_t, std::byte* element) { seen.push_back(std::to_integer<int>(*element)); });
  EXPECT_EQ(seen, (std::vector<int>{7, 8, 9, 12, 13, 14}));
}

TEST(Memory, PackedIgnoresStridesThatNobodyWalks) {
  StridedBlock block = packed_block(nullptr, {1, 3}, 4);
  EXPECT_TRUE(is_packed(block));
  block.strides_bytes[0] = 999;
  EXPECT_TRUE(is_packed(block));
  block.strides_bytes[1] = 8;
  EXPECT_FALSE(is_packed(block));
}

}  // namespace
}  // namespace holdfast
