// What a rank is told of shared reads, on the wire: steps; chunks, each a name and an offset; groups, each a count of ranks and the distances between them; reads.
#include <algorithm>
#include <limits>

#include "impl/plan/shared_reads.h"

namespace holdfast::plan {
namespace {

Result<std::uint32_t> take_below(Decoder& in, std::size_t bound, std::string_view what) {
  const std::uint64_t value = TRY(in.varint());
  if (value >= bound) return fail(ErrorCode::corrupt, "decode shared reads: {} {} of {}", what, value, bound);
  return static_cast<std::uint32_t>(value);
}

Result<MetadataIndex> take_chunk(Decoder& in) {
  MetadataIndex chunk;
  chunk.fqn = TRY(in.text());
  Dims offset(TRY(in.count(1)), 0);
  for (std::int64_t& number : offset) number = TRY(in.signed_varint());
  chunk.offset = std::move(offset);
  return chunk;
}

Result<std::vector<Rank>> take_group(Decoder& in) {
  std::vector<Rank> group(TRY(in.count(1)));
  if (group.size() < 2) return fail(ErrorCode::corrupt, "decode shared reads: a group of {} ranks", group.size());
  std::uint64_t next = 0;
  for (Rank& rank : group) {
    const std::uint64_t gap = TRY(in.varint());
    constexpr std::uint64_t most = std::numeric_limits<std::int32_t>::max();
    if (gap > most || next + gap > most) return fail(ErrorCode::corrupt, "decode shared reads: rank {} + {}", next, gap);
    rank.value = static_cast<std::int32_t>(next + gap);
    next += gap + 1;
  }
  return group;
}

Result<SharedRead> take_read(Decoder& in, const SharedReads& reads) {
  SharedRead read;
  read.chunk = TRY(take_below(in, reads.chunks.size(), "chunk"));
  read.group = TRY(take_below(in, reads.groups.size(), "group"));
  const std::vector<Rank>& group = reads.groups[read.group];
  read.reader = group[TRY(take_below(in, group.size(), "reader"))];
  read.blocks.first = TRY(in.varint());
  const std::uint64_t count = TRY(in.varint());
  if (count == 0 || read.blocks.first > std::numeric_limits<std::int64_t>::max() || count > std::numeric_limits<std::int64_t>::max())
    return fail(ErrorCode::corrupt, "decode shared reads: {} blocks from {} on", count, read.blocks.first);
  read.blocks.end = read.blocks.first + count;
  read.step = TRY(in.varint());
  const bool in_order = reads.reads.empty() || reads.reads.back().step <= read.step;
  if (read.step >= reads.steps || !in_order) return fail(ErrorCode::corrupt, "decode shared reads: step {} of {}", read.step, reads.steps);
  return read;
}

}  // namespace

void encode(Encoder& out, const SharedReads& reads) {
  out.varint(reads.steps);
  out.varint(reads.chunks.size());
  for (const MetadataIndex& chunk : reads.chunks) {
    out.text(chunk.fqn);
    out.varint(chunk.offset->size());
    for (const std::int64_t number : *chunk.offset) out.signed_varint(number);
  }
  out.varint(reads.groups.size());
  for (const std::vector<Rank>& group : reads.groups) {
    out.varint(group.size());
    std::int32_t next = 0;
    for (const Rank rank : group) {
      out.varint(static_cast<std::uint64_t>(rank.value - next));
      next = rank.value + 1;
    }
  }
  out.varint(reads.reads.size());
  for (const SharedRead& read : reads.reads) {
    const std::vector<Rank>& group = reads.groups[read.group];
    out.varint(read.chunk);
    out.varint(read.group);
    out.varint(static_cast<std::uint64_t>(std::ranges::lower_bound(group, read.reader) - group.begin()));
    out.varint(read.blocks.first);
    out.varint(read.blocks.end - read.blocks.first);
    out.varint(read.step);
  }
}

Result<SharedReads> decode_shared_reads(Decoder& in) {
  constexpr std::size_t chunk_bytes_min = 2, group_bytes_min = 3, read_bytes_min = 6;
  SharedReads reads;
  reads.steps = TRY(in.varint());
  for (std::size_t left = TRY(in.count(chunk_bytes_min)); left > 0; --left) reads.chunks.push_back(TRY(take_chunk(in)));
  for (std::size_t left = TRY(in.count(group_bytes_min)); left > 0; --left) reads.groups.push_back(TRY(take_group(in)));
  for (std::size_t left = TRY(in.count(read_bytes_min)); left > 0; --left) reads.reads.push_back(TRY(take_read(in, reads)));
  return reads;
}

}  // namespace holdfast::plan
