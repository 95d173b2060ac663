// Boxes cut to fit, and put into windows: groups of moves whose bytes are in memory at once. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "impl/plan/transfer_plan.h"

namespace holdfast::plan {

/// `box` in boxes of at most `bytes_max` each, row-major: rows of the outermost dimensions, as many at once as fit. Requires: an element fits.
std::vector<Box> cut_to_fit(const Box& box, std::uint32_t element_bytes, std::uint64_t bytes_max);

/// Gives every move a window, the moves their order, and returns how many windows there are. First each rank moves within its memory, then sends to the rank after it,
/// then to the second after it, and so on, so that in a window many pairs are at work and no rank is everybody's destination.
/// Requires: no move above window_bytes.
std::uint64_t schedule(std::vector<Move>& moves, std::size_t ranks, std::uint64_t window_bytes);

}  // namespace holdfast::plan
