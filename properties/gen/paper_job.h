// Jobs on paper: state dicts of any number of ranks whose memory is named and never touched, so that tensors may be as large as those of real models.
// For planning alone. Drawn from a seed, without RapidCheck.
#pragma once

#include <cstdint>
#include <vector>

#include "impl/core/state_dict.h"

namespace holdfast::properties::gen {

struct PaperJob {
  std::vector<StateDict> states;  ///< one a rank
};

struct PaperJobOptions {
  int ranks_max = 24;
  int tensors_max = 12;
};

/// Stages of a pipeline, a second mesh over the same ranks, every placement, flat cuts, replicas; tensors that ranks list by boxes, by two rules, by a
/// rule here and boxes there; ranks outside a mesh that list, announce or do not know a tensor; byte values. Sizes from nothing to some 10 MiB.
/// Such a job can be saved.
PaperJob draw_paper_job(std::uint64_t seed, const PaperJobOptions& options = {});

/// An entry without memory: of `rank` under `layout`, by rule where there is one. Requires: they fit.
TensorEntry paper_entry(DType dtype, const Dims& shape, const Layout& layout, Rank rank);

}  // namespace holdfast::properties::gen
