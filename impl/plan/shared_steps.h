// Shared reads cut to fit, and put into steps: groups of reads whose bytes are in memory at once. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "impl/plan/shared_reads.h"

namespace holdfast::plan {

/// Cuts every read to at most options.read_bytes_max, gives each a step, and all their order; returns how many steps there are. The first pieces of all readers come
/// first, then their second ones: in a step many ranks read and send. chunks[i] is that of reads.chunks[i].
std::uint64_t schedule(SharedReads& reads, const std::vector<ChunkBlocks>& chunks, std::size_t ranks, const SharingOptions& options);

}  // namespace holdfast::plan
