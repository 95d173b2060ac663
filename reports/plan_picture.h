// Pictures of plans, as DOT text for render_svg(). A save plan shows who writes what into which file; a load plan shows which rank reads
// how much of which file, and how much more than it needs.
//
// Ranks with equal plans are drawn as one ("ranks 0-63, same plan"); when there are still too many, ranks whose plans hold the same
// families of tensors; then blocks of neighbours, with ranges. The title says which. Equal plans give equal text.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/plan_values.h"

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
  Focus focus;
};

/// What only the caller knows of a save.
struct SaveContext {
  /// The file of each item, parallel to the plans. Empty: by the rule of our own storage, segment-RRRRR-NNN.safetensors, where box number
  /// n of a tensor on a rank goes to the rank's segment n, and byte values have files of their own.
  std::vector<std::vector<std::string>> files;
  /// What each rank held before duplicates were removed. Empty: the picture says nothing of replicas.
  const std::vector<SavePlan>* local_plans = nullptr;
};

/// The numbers of a save plan that the picture's title prints.
struct SaveSummary {
  std::vector<std::uint64_t> rank_bytes;  ///< bytes each rank writes
  std::uint64_t bytes = 0;
  std::uint64_t bytes_min = 0;
  std::uint64_t bytes_median = 0;
  std::uint64_t bytes_max = 0;
  double imbalance = 1;  ///< max / mean; 1 when nothing is written
  std::size_t chunks = 0;
  std::size_t files = 0;
  std::uint64_t bytes_held = 0;  ///< in the local plans, replicas included; 0 when not known
};
SaveSummary summarise(const std::vector<SavePlan>& plans, const SaveContext& context = {});

/// `plans[r]` is the plan of rank r.
std::string save_plan_dot(const std::vector<SavePlan>& plans, const Metadata& metadata, const PictureOptions& options = {},
                          const SaveContext& context = {});

/// The numbers of a load plan.
struct LoadSummary {
  std::uint64_t bytes_needed = 0;   ///< that the ranks asked for
  std::uint64_t bytes_spanned = 0;  ///< of the smallest ranges of the files that hold them, an item each
  std::uint64_t bytes_stored = 0;   ///< of the saved chunks that are read at all, each once
  double amplification = 1;         ///< spanned / needed
  std::size_t files = 0;
  std::size_t files_a_rank_max = 0;
  std::size_t byte_values = 0;  ///< items whose size the metadata does not know; in none of the sums
};
/// Where each saved chunk and byte value lies.
using FileOf = std::map<MetadataIndex, std::string>;
LoadSummary summarise(const std::vector<LoadPlan>& plans, const Metadata& saved, const FileOf& file_of);

/// `plans[r]` is the plan of the loading rank r. An edge's bytes are what the rank needs; its colour and number, the amplification.
std::string load_plan_dot(const std::vector<LoadPlan>& plans, const Metadata& saved, const FileOf& file_of,
                          const PictureOptions& options = {});

}  // namespace holdfast::reports
