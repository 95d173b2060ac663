// Who writes what of the tensors that several ranks hold by one rule. Pure, and a formula, so that it costs the same at any number of ranks.
//
// Take a tensor and the axes along which its layout replicates, of n ranks together. Its *part* is what the placements leave to a rank; its size is that
// of position 0, the largest. The part consists of *units* of elements, and each unit is written by exactly one of the n ranks:
//
//   unit = the whole part, when a rank holds at most 64 KiB of it, or when its boxes are joined in memory along a dimension other than the first;
//   else   k rows, the fewest of at least 64 KiB; a row is an index of the outermost dimension along which it has at most 1 MiB (an element, if none).
//
// - No flat cut: all tensors with the same mesh, the same replicated axes and elements of the same width lie end to end on a line, in name order, each
//   as long as its part. The line is cut into n runs of ceil(length / n). A unit is written by the rank in whose run its last element lies.
// - A flat cut already (ZeRO): each run is cut once more into n pieces of ceil(run / n), and of what a rank holds, a unit, or what of it lies in the
//   run, is written by the rank in whose piece its last element lies; the last rank, if that is beyond the run, the first, if before it.
//
// So no rank writes more of a line than its run and a unit, a line adds at most n - 1 chunks for each part of the mesh, and nothing small is split.
// DedupPolicy::lowest_rank, and layouts whose runs are cut twice as they come: the first of the n ranks writes all.
#pragma once

#include <span>
#include <vector>

#include "impl/core/plan_values.h"
#include "impl/plan/save_plan.h"

namespace holdfast::plan {

/// The layouts by which `tensors` are written, in their order: nothing replicated any more, nothing written that its rank does not hold. They differ from
/// the given ones in their flat cut or, for lowest_rank, their mesh.
/// Requires: name order, layouts that check() accepts.
std::vector<MeshLayout> writer_layouts(std::span<const LayoutItem* const> tensors, DedupPolicy policy);

}  // namespace holdfast::plan
