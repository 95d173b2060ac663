// Two digests. BlockDigest guards stored bytes. TensorDigest is layout-free: any partition of a tensor adds up to the same value.
// Both guard against accident, not against an adversary. Formulas, keys, strength and test vectors: impl/format/FORMAT.md.
#pragma once

#include <cstdint>
#include <string>

#include "impl/core/box.h"
#include "impl/core/bytes.h"
#include "impl/core/dtype.h"
#include "impl/core/memory.h"

namespace holdfast {

/// XXH3-128 of a byte sequence, seed 0.
struct BlockDigest {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool operator==(const BlockDigest&) const = default;
};

/// One pass over the bytes, on the calling thread.
BlockDigest block_digest(ByteView bytes);

/// block_digest of bytes that come in parts.
class BlockDigester {
 public:
  BlockDigester();
  void update(ByteView bytes);
  /// Of all bytes since it was made or last finished; then begins anew.
  BlockDigest finish();

 private:
  alignas(64) std::byte state_[576];  ///< XXH3's
};
std::string to_string(const BlockDigest& digest);  ///< 32 hex digits, high half first
/// Errors: corrupt for what is not 32 hex digits.
Result<BlockDigest> block_digest_from_string(std::string_view hex);

/// Two 64-bit lanes; digests of disjoint boxes of one tensor add up (operator+=) to the digest of their union.
struct TensorDigest {
  std::uint64_t lanes[2] = {0, 0};
  TensorDigest& operator+=(const TensorDigest& other) {
    lanes[0] += other.lanes[0];
    lanes[1] += other.lanes[1];
    return *this;
  }
  bool operator==(const TensorDigest&) const = default;
};
std::string to_string(const TensorDigest& digest);  ///< "lane0:lane1" in hex

/// Digest of the elements of `box` of a tensor of `shape`, read from host memory through `block` (block.sizes == box.size).
/// One pass over the bytes. The kernel in impl/backend/cuda computes the same value on the device.
TensorDigest tensor_digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype);

/// The keys of the formula: A[lane][i mod 4096] and B(lane, i div 4096), all odd.
std::uint64_t digest_key_a(unsigned lane, std::uint64_t index);
std::uint64_t digest_key_b(unsigned lane, std::uint64_t index);

}  // namespace holdfast
