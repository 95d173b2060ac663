// Segments: the files that hold tensor data. Each is a valid safetensors file that PyTorch's Hugging Face reader opens, with our block
// digests and whole shapes in its __metadata__. Pure: bytes in, bytes out. Layout and reasons: FORMAT.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/bytes.h"
#include "impl/core/digest.h"
#include "impl/core/dtype.h"
#include "impl/core/error.h"

namespace holdfast::format {

inline constexpr std::uint64_t segment_alignment = 4096;  ///< bytes: the data area starts on a multiple of it
inline constexpr std::uint64_t header_pages_max =
    65535;  ///< headers in units of it, as a manifest counts them; longer than any header can be
/// Bytes of a tensor that share one block digest. A load reads whole blocks: of a part of a tensor up to two blocks more than it needs, which is why they
/// are not larger; each costs 32 bytes of the header, which is why they are not smaller.
inline constexpr std::uint32_t default_block_bytes = 64 << 10;
inline constexpr std::size_t generation_bytes_max = 128;  ///< a generation: at most so many letters, digits and any of ._-+:@/

struct SegmentTensor {
  std::string name;  ///< UTF-8
  DType dtype = DType::u8;
  Dims shape;                ///< of the whole tensor, in elements
  Box box;                   ///< what is stored of it
  std::uint64_t offset = 0;  ///< bytes, in the data area
  std::uint64_t bytes = 0;
  std::uint64_t first_block = 0;  ///< number of its first block in the segment
  bool operator==(const SegmentTensor&) const = default;
};

/// A span of a tensor's bytes with a digest of its own.
struct SegmentBlock {
  std::size_t tensor = 0;    ///< of SegmentLayout::tensors
  std::uint64_t offset = 0;  ///< bytes, in the data area
  std::uint64_t bytes = 0;
};

struct SegmentLayout {
  std::vector<SegmentTensor> tensors;
  std::uint64_t header_bytes = 0;  ///< length field, JSON and padding: where the data area starts; a multiple of segment_alignment
  std::uint64_t data_bytes = 0;
  std::uint32_t block_bytes = 0;

  std::uint64_t file_bytes() const { return header_bytes + data_bytes; }
  /// Each tensor is cut into blocks of block_bytes from where it begins; its last one may be short, an empty tensor has none. Blocks are numbered in the
  /// order of their bytes.
  std::size_t block_count() const;
  std::size_t blocks_of(const SegmentTensor& tensor) const;
  /// Requires: number < block_count().
  SegmentBlock block(std::size_t number) const;
  bool operator==(const SegmentLayout&) const = default;
};

/// Lays the boxes out one after the other in the given order without holes (`offset`, `bytes` and `first_block` of the input are ignored) and reserves
/// header space for the block digests, so that header_bytes is known before the first digest.
/// Errors: invalid_argument for a name twice, a name that is no UTF-8 or is "__metadata__", a box outside its shape, block_bytes of 0, more
/// than 2^62 bytes, or a header over safetensors_header_bytes_max.
Result<SegmentLayout> lay_out_segment(std::vector<SegmentTensor> tensors, std::uint32_t block_bytes);

/// The header, exactly layout.header_bytes long. `generation` names the attempt that wrote the segment, so that blocks of an older one that
/// surface after a crash are not taken for it.
/// Requires: a layout from lay_out_segment, a digest for each of its blocks, a generation within its bounds.
Bytes encode_segment_header(const SegmentLayout& layout, std::span<const BlockDigest> blocks, std::string_view generation);

struct SegmentHeader {
  SegmentLayout layout;
  std::vector<BlockDigest> blocks;
  std::string generation;
  bool operator==(const SegmentHeader&) const = default;
};

/// Decodes the first header_bytes of a segment. Only what encode_segment_header can have written is accepted, byte for byte.
/// Errors: corrupt; unsupported for a segment of another format version. `path` names the file in messages.
Result<SegmentHeader> decode_segment_header(ByteView bytes, std::string_view path);

/// header_bytes from the first 8 bytes of a safetensors file: its length field + 8.
/// Errors: corrupt for fewer than 8 bytes or a length outside [2, safetensors_header_bytes_max].
Result<std::uint64_t> segment_header_bytes(ByteView first_8_bytes, std::string_view path);

}  // namespace holdfast::format
