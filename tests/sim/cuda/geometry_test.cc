#include "impl/backend/cuda/geometry.h"

#include <gtest/gtest.h>

#include "impl/backend/cuda/digest.cuh"
#include "tests/sim/cuda/random_blocks.h"

namespace holdfast::backend::cuda {
namespace {

using testing_cuda::Random;
using testing_cuda::RandomBlock;

TEST(Divisor, DividesAsTheProcessorDoes) {
  constexpr std::uint32_t top = (1u << 31) - 1;
  for (std::uint32_t divisor = 1; divisor <= 300; ++divisor) {
    const Divisor by = make_divisor(divisor);
    for (std::uint32_t n = 0; n <= 2000; ++n) ASSERT_EQ(divide(n, by), n / divisor) << n << " / " << divisor;
    for (std::uint32_t n = top - 2000; n <= top; ++n) ASSERT_EQ(divide(n, by), n / divisor) << n << " / " << divisor;
  }
  Random random(1);
  for (int i = 0; i < 200'000; ++i) {
    const auto divisor = static_cast<std::uint32_t>(1 + random.below(i % 2 == 0 ? top : 1 << (1 + i % 30)));
    const auto n = static_cast<std::uint32_t>(random.below(std::int64_t{top} + 1));
    ASSERT_EQ(divide(n, make_divisor(divisor)), n / divisor) << n << " / " << divisor;
  }
}

TEST(Kernels, ComputeTheKeysOfCore) {
  for (std::uint32_t lane = 0; lane < 2; ++lane) {
    for (std::uint64_t index : {0ull, 1ull, 4096ull, 1ull << 40, ~0ull}) EXPECT_EQ(key_b(lane, index), digest_key_b(lane, index));
  }
  for (std::uint64_t index = 0; index < key_period; ++index) ASSERT_EQ(digest_key_a(1, index), digest_key_a(1, index + key_period));
}

TEST(Kernels, EachKeyHasAPlaceOfItsOwn) {
  std::vector<bool> taken(key_period);
  for (std::uint32_t residue = 0; residue < key_period; ++residue) {
    ASSERT_LT(key_place(residue), key_period);
    ASSERT_FALSE(taken[key_place(residue)]) << residue;
    taken[key_place(residue)] = true;
  }
}

TEST(Geometry, JoinsDimensionsWithoutGaps) {
  EXPECT_EQ(byte_dimensions(packed_block(nullptr, {4, 5, 6}, 2)), (Dimensions{{240, 1, 1}}));
  const StridedBlock part = narrow(packed_block(nullptr, {4, 5, 6}, 2), {0, 1, 0}, {4, 3, 6});
  EXPECT_EQ(byte_dimensions(part), (Dimensions{{4, 60, 36}, {36, 1, 1}}));
  EXPECT_EQ(byte_dimensions(packed_block(nullptr, {1, 1}, 1)), Dimensions{});
  EXPECT_EQ(byte_dimensions(packed_block(nullptr, {}, 8)), (Dimensions{{8, 1, 1}}));
}

TEST(Geometry, TakesTheWidestWordThatFitsAddressStridesAndRuns) {
  const Dimensions rows{{4, 64, 48}, {48, 1, 1}};
  const auto at = [](std::uintptr_t address) { return reinterpret_cast<const void*>(address); };
  const void* const packed = at(8192);
  const auto word_of = [&](const Dimensions& region, const void* address, const void* to) { return word_bytes(region, address, to); };
  EXPECT_EQ(word_of(rows, at(4096), packed), 16u);
  EXPECT_EQ(word_of(rows, at(4096 + 8), packed), 8u);
  EXPECT_EQ(word_of(rows, at(4096), at(8192 + 4)), 4u);
  EXPECT_EQ(word_of(rows, at(4096 + 3), packed), 1u);
  EXPECT_EQ(word_of(Dimensions{{4, 66, 48}, {48, 1, 1}}, at(4096), packed), 2u);
  EXPECT_EQ(word_of(Dimensions{{4, 64, 4}, {4, 1, 1}}, at(4096), packed), 4u);
  EXPECT_EQ(word_of(Dimensions{{4, 64, 1}}, at(4096), packed), 1u);
  EXPECT_EQ(in_words(rows, 16), (Dimensions{{4, 64, 48}, {3, 16, 16}}));
  EXPECT_EQ(in_words(Dimensions{{4, 64, 4}, {4, 1, 1}}, 4), (Dimensions{{4, 64, 4}}));
}

TEST(Geometry, SlabsAreThePartsOfTheWholeInOrder) {
  Random random(7);
  for (int i = 0; i < 500; ++i) {
    const RandomBlock block = testing_cuda::random_block(random, DType::u16);
    if (block.box.empty()) continue;
    const Dimensions region = byte_dimensions(block.in(nullptr, MemoryKind::device));
    const std::int64_t most = 1 + random.below(64);
    std::int64_t next = 0;
    for (const Slab& slab : slabs(region, most)) {
      ASSERT_LE(units(slab.dimensions), most);
      ASSERT_EQ(slab.index, next);
      next += units(slab.dimensions);
    }
    ASSERT_EQ(next, units(region));
  }
}

}  // namespace
}  // namespace holdfast::backend::cuda
