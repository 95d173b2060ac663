// Random strided blocks, and what a Device must do with each: shared by the tests on the simulated and on the real runtime.
#pragma once

#include <cstdint>

#include "impl/port/device.h"

namespace holdfast::testing_cuda {

/// SplitMix64: the same numbers everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(n)); }

 private:
  std::uint64_t state_;
};

/// A box of a tensor, and how its elements lie in `bytes` of memory: any order of dimensions, gaps, strides of either sign.
struct RandomBlock {
  DType dtype = DType::u8;
  Dims shape;
  Box box;
  Dims strides_bytes;
  std::int64_t first_byte = 0;
  std::size_t bytes = 0;

  StridedBlock in(std::byte* memory, MemoryKind kind) const;
};
RandomBlock random_block(Random& random, DType dtype);
std::string to_string(const RandomBlock& block);

void fill(ByteSpan bytes, Random& random);

/// Uploads random bytes, digests and copies the block out, and copies other bytes in; two streams and an event between them. Every result
/// is compared with copy_block and tensor_digest on the host; what lies around the block must not change. `memory`, of block.bytes on the
/// device, must outlive the device's work if this fails half way.
Status check_block(port::Device& device, port::Clock& clock, const RandomBlock& block, const port::Buffer& memory, std::uint64_t seed);
/// The same in memory of its own, for those who go on only if it holds.
Status check_block(port::Device& device, port::Clock& clock, const RandomBlock& block, std::uint64_t seed);

}  // namespace holdfast::testing_cuda
