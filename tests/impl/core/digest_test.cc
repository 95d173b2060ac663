#include "impl/core/digest.h"

#include <gtest/gtest.h>

#include <cstring>

#include "impl/core/digest_kernels.h"
#include "tests/impl/core/random.h"

namespace holdfast {
namespace {

using holdfast::testing::Random;

/// The formula of FORMAT.md, word for word: one unit at a time.
TensorDigest naive_digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype) {
  const std::uint32_t element_bytes = size_bytes(dtype);
  const std::uint32_t unit_bytes = std::min(element_bytes, 4u);
  TensorDigest sum;
  Dims index(box.size.size(), 0);
  for (std::int64_t n = 0; n < box.volume(); ++n) {
    std::uint64_t element = 0;
    const std::byte* data = block.data;
    for (std::size_t d = 0; d < index.size(); ++d) {
      element = element * static_cast<std::uint64_t>(shape[d]) + static_cast<std::uint64_t>(box.offset[d] + index[d]);
      data += index[d] * block.strides_bytes[d];
    }
    for (std::uint32_t u = 0; u < element_bytes / unit_bytes; ++u) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, data + u * unit_bytes, unit_bytes);
      const std::uint64_t i = element * (element_bytes / unit_bytes) + u;
      for (unsigned lane = 0; lane < 2; ++lane) sum.lanes[lane] += (bits + 1) * digest_key_a(lane, i % 4096) * digest_key_b(lane, i / 4096);
    }
    for (std::size_t d = index.size(); d-- > 0;) {
      if (++index[d] < box.size[d]) break;
      index[d] = 0;
    }
  }
  return sum;
}

/// A packed copy of `box` of a packed tensor.
Bytes cut(Bytes& tensor, const Box& box, const Dims& shape, std::uint32_t element_bytes) {
  Bytes part(static_cast<std::size_t>(box.volume()) * element_bytes);
  copy_block(narrow(packed_block(tensor.data(), shape, element_bytes), box.offset, box.size),
             packed_block(part.data(), box.size, element_bytes));
  return part;
}

Box random_box(Random& random, const Dims& shape) {
  Box box;
  for (const std::int64_t extent : shape) {
    // Whole dimensions are common in real layouts and take other paths.
    const auto size = random.below(3) == 0 ? extent : static_cast<std::int64_t>(1 + random.below(static_cast<std::uint64_t>(extent)));
    box.size.push_back(size);
    box.offset.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(extent - size + 1))));
  }
  return box;
}

const std::vector<Dims> shapes = {{},          {1},          {7},          {3, 5},       {40000},  {5, 4096},
                                  {3, 70, 61}, {2, 1, 9000}, {9000, 1, 2}, {4, 3, 2, 2}, {1, 1, 1}};

TEST(TensorDigest, IsTheFormulaForEveryDtypeBoxAndStride) {
  Random random(11);
  for (const DType dtype : all_dtypes()) {
    const std::uint32_t bytes = size_bytes(dtype);
    for (const Dims& shape : shapes) {
      Bytes tensor = random.bytes(static_cast<std::size_t>(whole(shape).volume()) * bytes);
      for (int round = 0; round < 4; ++round) {
        const Box box = round == 0 ? whole(shape) : random_box(random, shape);
        const StridedBlock view = narrow(packed_block(tensor.data(), shape, bytes), box.offset, box.size);
        const TensorDigest expected = naive_digest(view, box, shape, dtype);
        EXPECT_EQ(tensor_digest(view, box, shape, dtype), expected) << to_string(dtype) << " " << to_string(box);
        Bytes packed = cut(tensor, box, shape, bytes);
        EXPECT_EQ(tensor_digest(packed_block(packed.data(), box.size, bytes), box, shape, dtype), expected)
            << to_string(dtype) << " " << to_string(box);
      }
    }
  }
}

TEST(TensorDigest, ReadsTransposedMemory) {
  Random random(12);
  const Dims shape = {70, 60};
  for (const DType dtype : {DType::u8, DType::bf16, DType::f32, DType::f64, DType::c128}) {
    const std::int64_t bytes = size_bytes(dtype);
    Bytes memory = random.bytes(static_cast<std::size_t>(70 * 60 * bytes));
    StridedBlock block = packed_block(memory.data(), shape, size_bytes(dtype));
    block.strides_bytes = {bytes, 70 * bytes};
    EXPECT_EQ(tensor_digest(block, whole(shape), shape, dtype), naive_digest(block, whole(shape), shape, dtype)) << to_string(dtype);
  }
}

TEST(TensorDigest, AddsUpAlikeOverEveryPartition) {
  Random random(13);
  for (int round = 0; round < 300; ++round) {
    const DType dtype = all_dtypes()[random.below(all_dtypes().size())];
    const std::uint32_t bytes = size_bytes(dtype);
    const Dims shape = {static_cast<std::int64_t>(1 + random.below(12)), static_cast<std::int64_t>(1 + random.below(30)),
                        static_cast<std::int64_t>(1 + random.below(40))};
    Bytes tensor = random.bytes(static_cast<std::size_t>(whole(shape).volume()) * bytes);
    // Cut boxes in two at random places until there are a few.
    std::vector<Box> parts = {whole(shape)};
    for (int cuts = 0; cuts < 8; ++cuts) {
      Box& box = parts[random.below(parts.size())];
      const std::size_t d = random.below(3);
      if (box.size[d] < 2) continue;
      Box rest = box;
      box.size[d] = static_cast<std::int64_t>(1 + random.below(static_cast<std::uint64_t>(box.size[d] - 1)));
      rest.offset[d] += box.size[d];
      rest.size[d] -= box.size[d];
      parts.push_back(rest);
    }
    TensorDigest sum;
    for (const Box& box : parts) {
      Bytes part = cut(tensor, box, shape, bytes);
      sum += tensor_digest(packed_block(part.data(), box.size, bytes), box, shape, dtype);
    }
    EXPECT_EQ(sum, tensor_digest(packed_block(tensor.data(), shape, bytes), whole(shape), shape, dtype)) << to_string(dtype);
  }
}

TEST(TensorDigest, SeesEveryChangeOfAByteElementAndEveryFlippedBitOfAnyElement) {
  Random random(14);
  for (const DType dtype : all_dtypes()) {
    const std::uint32_t bytes = size_bytes(dtype);
    const Dims shape = {3, 5};
    Bytes tensor = random.bytes(15 * bytes);
    const auto digest = [&] { return tensor_digest(packed_block(tensor.data(), shape, bytes), whole(shape), shape, dtype); };
    const TensorDigest original = digest();
    for (std::byte& byte : tensor) {
      const std::byte before = byte;
      for (int value = 0; value < 256; ++value) {
        byte = static_cast<std::byte>(value);
        EXPECT_EQ(digest() == original, byte == before) << to_string(dtype);
      }
      byte = before;
    }
  }
}

TEST(TensorDigest, SeesEveryChangeOfATwoByteElement) {
  std::uint16_t element = 0x3f80;
  const auto digest = [&] {
    return tensor_digest(packed_block(reinterpret_cast<std::byte*>(&element), {1}, 2), {{5000}, {1}}, {10000}, DType::bf16);
  };
  const TensorDigest original = digest();
  for (int value = 0; value < 0x10000; ++value) {
    element = static_cast<std::uint16_t>(value);
    EXPECT_EQ(digest() == original, value == 0x3f80) << value;
  }
}

TEST(TensorDigest, SeesTwoFlippedSignsAndSwappedRows) {
  const Dims shape = {3, 4096};
  std::vector<double> tensor(3 * 4096, 1.0);
  const auto digest = [&] {
    return tensor_digest(packed_block(reinterpret_cast<std::byte*>(tensor.data()), shape, 8), whole(shape), shape, DType::f64);
  };
  const TensorDigest original = digest();
  tensor[1] = tensor[4097] = -1.0;
  EXPECT_NE(digest(), original);
  tensor.assign(tensor.size(), 1.0);
  std::fill_n(tensor.begin(), 4096, 2.0);
  const TensorDigest first_row = digest();
  std::fill_n(tensor.begin(), 4096, 1.0);
  std::fill_n(tensor.begin() + 4096, 4096, 2.0);
  EXPECT_NE(digest(), first_row);
}

TEST(TensorDigest, OfNothingIsZeroAndOfZerosIsNot) {
  std::byte zeros[4] = {};
  EXPECT_EQ(tensor_digest(packed_block(nullptr, {0, 3}, 4), {{2, 0}, {0, 3}}, {2, 3}, DType::f32), TensorDigest{});
  EXPECT_NE(tensor_digest(packed_block(zeros, {1}, 4), whole({1}), {1}, DType::f32), TensorDigest{});
}

TEST(TensorDigest, AllKeysAreOdd) {
  for (unsigned lane = 0; lane < 2; ++lane) {
    for (std::uint64_t i = 0; i < 4096; ++i) {
      EXPECT_EQ(digest_key_a(lane, i) & 1, 1u);
      EXPECT_EQ(digest_key_b(lane, i) & 1, 1u);
    }
  }
}

TEST(DigestKernels, EveryInstructionSetComputesTheSame) {
  std::vector<const digest_kernels::Table*> tables;
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) tables.push_back(&digest_kernels::avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) tables.push_back(&digest_kernels::avx512);
#endif
  Random random(15);
  const Bytes data = random.bytes(4 * 4096 * 4 + 64);
  std::uint64_t expected[4][2], sums[4][2];
  for (const digest_kernels::Table* table : tables) {
    for (int log = 0; log < 3; ++log) {
      for (int round = 0; round < 200; ++round) {
        const std::uint64_t first = random.below(4096);
        const std::uint64_t count = round < 40 ? std::min<std::uint64_t>(round, 4096 - first) : random.below(4097 - first);
        const std::byte* from = data.data() + random.below(64);
        digest_kernels::portable.sum_row[log](from, first, count, expected);
        table->sum_row[log](from, first, count, sums);
        EXPECT_TRUE(std::equal(expected[0], expected[0] + 2, sums[0])) << log << " " << first << " " << count;
      }
      digest_kernels::portable.sum_rows[log](data.data(), 0, 4096, expected);
      table->sum_rows[log](data.data(), 0, 4096, sums);
      EXPECT_TRUE(std::equal(expected[0], expected[0] + 8, sums[0])) << log;
    }
    for (std::size_t size = 0; size < 3000; size += size < 300 ? 1 : 37) {
      std::uint64_t low = 0, high = 0;
      digest_kernels::portable.xxh3_128(data.data(), size, &low, &high);
      EXPECT_EQ(block_digest(ByteView(data).first(size)), (BlockDigest{low, high})) << size;
      std::uint64_t table_low = 0, table_high = 0;
      table->xxh3_128(data.data(), size, &table_low, &table_high);
      EXPECT_EQ(table_low, low) << size;
      EXPECT_EQ(table_high, high) << size;
    }
  }
}

TEST(BlockDigest, OfPartsIsThatOfTheWhole) {
  Random random(5);
  Bytes data(5000);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random.below(256));
  BlockDigester digester;
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{240}, std::size_t{241}, std::size_t{1024}, std::size_t{5000}}) {
    for (int round = 0; round < 50; ++round) {
      for (std::size_t at = 0; at < size;) {
        const std::size_t part = std::min<std::size_t>(size - at, random.below(round < 25 ? 70 : 2000));
        digester.update(ByteView(data).subspan(at, part));
        at += part;
      }
      EXPECT_EQ(digester.finish(), block_digest(ByteView(data).first(size))) << size;
    }
  }
}

TEST(BlockDigest, ComesBackFromItsTextAndFromNoOther) {
  const BlockDigest digest{0x0123456789abcdef, 0xfedcba9876543210};
  EXPECT_EQ(to_string(digest), "fedcba98765432100123456789abcdef");
  EXPECT_EQ(block_digest_from_string(to_string(digest)), digest);
  EXPECT_EQ(block_digest_from_string("FEDCBA98765432100123456789abcdef").error().message,
            R"(digest "FEDCBA98765432100123456789abcdef": character 0 is no lower-case hex digit)");
  EXPECT_EQ(block_digest_from_string("12").error().message, R"(digest "12": 2 characters, expected 32)");
}

}  // namespace
}  // namespace holdfast
