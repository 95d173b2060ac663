// Who reads what several ranks of a load want, and who gets it from him. Pure.
//
// What is shared are whole blocks, because only these can be verified. Blocks that the same ranks want are dealt out to them in long stretches; what one rank alone
// wants is not in it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "impl/core/encoding.h"
#include "impl/core/plan_values.h"

namespace holdfast::plan {

/// Blocks [first, end) of a chunk.
struct BlockRange {
  std::uint64_t first = 0, end = 0;
  auto operator<=>(const BlockRange&) const = default;
};

/// A saved chunk as it is stored: row-major, cut into blocks from where it begins; the last one may be short.
struct ChunkBlocks {
  Dims size;  ///< elements
  std::uint32_t element_bytes = 1;
  std::uint32_t block_bytes = 1;

  std::uint64_t bytes() const;
  std::uint64_t count() const;  ///< of blocks
  /// So many blocks hold whole elements: ranges of them begin and end where an element does.
  std::uint64_t unit() const;
  std::uint64_t bytes_of(const BlockRange& range) const;
  /// The blocks that hold an element of `part`, a box within the chunk: ascending, neither touching nor empty.
  std::vector<BlockRange> holding(const Box& part) const;
};
/// `ranges` in any order, as ascending ranges of whole units that do not touch. Requires: ranges of the chunk.
std::vector<BlockRange> whole_units(const ChunkBlocks& chunk, std::vector<BlockRange> ranges);

/// Blocks that one rank reads, for itself and for others.
struct SharedRead {
  std::uint32_t chunk = 0;  ///< number in SharedReads::chunks
  BlockRange blocks;
  std::uint32_t group = 0;  ///< number in SharedReads::groups: all who want them
  Rank reader;              ///< one of them
  std::uint64_t step = 0;   ///< in which it is sent
  bool operator==(const SharedRead&) const = default;
};

struct SharedReads {
  std::vector<MetadataIndex> chunks;      ///< each once
  std::vector<std::vector<Rank>> groups;  ///< ascending, two ranks at least
  std::vector<SharedRead> reads;  ///< by step, then reader, group, chunk, blocks: in this order they follow one another in an exchange
  std::uint64_t steps = 0;
  bool operator==(const SharedReads&) const = default;
};

struct SharingOptions {
  std::uint32_t block_bytes = 1;
  /// What a rank reads for others in one step takes at most so much room (room_of), and so does what it is sent; a unit of blocks goes in any case.
  std::uint64_t step_bytes = 32 << 20;
  std::uint64_t read_bytes_max = 1 << 20;    ///< of one SharedRead; a unit of blocks in any case
  std::uint64_t reader_bytes_min = 1 << 20;  ///< what fewer ranks than want it read, so that none reads less than this
};
/// Memory of `bytes` of a file, which are read with the pages that hold them.
constexpr std::uint64_t room_of(std::uint64_t bytes) { return (bytes + 2 * 4096 - 1) / 4096 * 4096; }

/// The file that holds a chunk: neighbours in a file are dealt to one reader where that can be.
using FileOf = std::function<Result<std::uint64_t>(const MetadataIndex& chunk)>;

/// Of the plans of all ranks, in rank order. Every block (rounded to units) that two ranks want at least is read by one of those that want it, and sent to all others; no other
/// block is in it. What each rank reads, also for itself alone, is balanced as far as those who want something allow. Plans that ask for the same cost little
/// more than one.
/// Errors: invalid_argument for an item of which `metadata` has no such chunk, or that reaches beyond it; those of `file_of`.
Result<SharedReads> share_reads(std::span<const LoadPlan> plans, const Metadata& metadata, const FileOf& file_of,
                                const SharingOptions& options);

/// What each of `ranks` ranks has to do with: the reads of its groups. Steps are those of all.
std::vector<SharedReads> parts_of(const SharedReads& reads, std::size_t ranks);

void encode(Encoder& out, const SharedReads& reads);
/// Total. Errors: corrupt. What the numbers mean for the chunks is the receiver's to check.
Result<SharedReads> decode_shared_reads(Decoder& in);

}  // namespace holdfast::plan
