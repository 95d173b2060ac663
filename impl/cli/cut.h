// How the command cuts tensors over ranks: along dimension 0, in one run of rows a rank.
#pragma once

#include "impl/core/layout.h"
#include "impl/core/state_dict.h"

namespace holdfast::cli {

/// What to do with a tensor that has no dimension, or fewer rows than there are ranks.
enum class Small : std::uint8_t {
  replicated,   ///< every rank holds it: to be saved
  on_one_rank,  ///< rank 0 holds it: to be loaded into memory that the ranks share
};

/// Adds the part of `rank` of a packed tensor that lies at `data` as a whole. A rank without a part gets no entry.
Status add_part(StateDict& state, const std::string& name, std::byte* data, DType dtype, const Dims& shape, int ranks, Rank rank,
                Small small);

}  // namespace holdfast::cli
