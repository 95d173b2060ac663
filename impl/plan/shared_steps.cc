#include "impl/plan/shared_steps.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace holdfast::plan {
namespace {

/// How far one direction of a rank is filled.
struct Fill {
  std::uint64_t step = 0;
  std::uint64_t used = 0;
  std::uint64_t used_in(std::uint64_t of) const { return of == step ? used : 0; }
};

/// With its number among the pieces of its reader.
using Piece = std::pair<std::uint64_t, SharedRead>;

std::vector<Piece> pieces_of(const SharedReads& reads, const std::vector<ChunkBlocks>& chunks, std::size_t ranks,
                             const SharingOptions& options) {
  std::vector<std::uint64_t> counts(ranks, 0);
  std::vector<Piece> pieces;
  for (const SharedRead& read : reads.reads) {
    const ChunkBlocks& chunk = chunks[read.chunk];
    const std::uint64_t unit_bytes = chunk.unit() * chunk.block_bytes;
    const std::uint64_t blocks =
        std::max<std::uint64_t>(1, std::min(options.read_bytes_max, options.step_bytes / 2) / unit_bytes) * chunk.unit();
    for (std::uint64_t first = read.blocks.first; first < read.blocks.end; first += blocks) {
      SharedRead piece = read;
      piece.blocks = {first, std::min(read.blocks.end, first + blocks)};
      pieces.emplace_back(counts[static_cast<std::size_t>(read.reader.value)]++, piece);
    }
  }
  std::ranges::stable_sort(pieces, {}, [](const Piece& piece) { return std::pair(piece.first, piece.second.reader); });
  return pieces;
}

}  // namespace

std::uint64_t schedule(SharedReads& reads, const std::vector<ChunkBlocks>& chunks, std::size_t ranks, const SharingOptions& options) {
  std::vector<Piece> pieces = pieces_of(reads, chunks, ranks, options);
  std::vector<Fill> sends(ranks), receives(ranks);
  std::uint64_t steps = 0;
  reads.reads.clear();
  for (auto& [number, piece] : pieces) {
    const std::uint64_t room = room_of(chunks[piece.chunk].bytes_of(piece.blocks));
    std::vector<Fill*> touched;
    for (const Rank rank : reads.groups[piece.group]) {
      const auto r = static_cast<std::size_t>(rank.value);
      touched.push_back(rank == piece.reader ? &sends[r] : &receives[r]);
    }
    std::uint64_t step = 0;
    for (const Fill* fill : touched) step = std::max(step, fill->step);
    const auto fits = [&](const Fill* fill) { return fill->used_in(step) == 0 || fill->used_in(step) + room <= options.step_bytes; };
    if (!std::ranges::all_of(touched, fits)) ++step;
    for (Fill* fill : touched) *fill = {step, fill->used_in(step) + room};
    piece.step = step;
    steps = std::max(steps, step + 1);
    reads.reads.push_back(piece);
  }
  std::ranges::sort(reads.reads, {},
                    [](const SharedRead& read) { return std::tuple(read.step, read.reader, read.group, read.chunk, read.blocks); });
  return steps;
}

}  // namespace holdfast::plan
