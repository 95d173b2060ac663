// Pictures of plans, as DOT text for render_svg(). A save plan shows who writes what into which file; a load plan shows which rank reads
// how much of which file, and how much more than it needs.
//
// Ranks with equal plans are drawn as one ("ranks 0-63, same plan"); when there are still too many, ranks whose plans hold the same
// families of tensors; then those that the caller names, or blocks of neighbours, with ranges. The title says which. Equal plans give equal text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reports/grouping.h"
#include "reports/reads.h"
#include "reports/writes.h"

namespace holdfast::reports {

/// What to look at. One of the three, or nothing.
struct Focus {
  std::optional<std::size_t> rank;  ///< drawn alone; all others together
  std::string tensor;               ///< glob: only the matching keys
  std::string file;                 ///< glob: only the matching files
};
/// "rank=17", "tensor=*.weight", "file=segment-00003*"; "" is no focus. Errors: invalid_argument.
Result<Focus> parse_focus(std::string_view text);

struct PictureOptions {
  std::size_t node_budget = 150;
  Focus focus = {};
  std::vector<NamedRanks> ranks = {};    ///< how to put together ranks whose plans all differ; none: blocks of neighbours
  std::vector<NamedRanks> writers = {};  ///< the same for the ranks whose files are read
  std::string named_by = {};             ///< why `ranks` belong together: "pipeline stage"
};

/// Who writes what into which file.
std::string save_plan_dot(const Writes& writes, const PictureOptions& options = {});

/// Who reads how much of which file. An edge's bytes are what the ranks need; its colour and number, the amplification.
std::string load_plan_dot(const Reads& reads, const PictureOptions& options = {});

}  // namespace holdfast::reports
