// Who writes what, as parts that can be gone through again and again, however many ranks there are: what the header, the pictures and the
// estimate of a save are made of. Files are those of our own storage: box number n of a tensor on a rank goes to the rank's segment n, a byte value has a
// file of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "impl/core/plan_values.h"
#include "reports/footprint.h"

namespace holdfast::reports {

class Writes {
 public:
  struct Tensor {
    std::string name;
    std::string family;        ///< the name without its numbers (text.h)
    std::string dtype;         ///< empty: a byte value
    std::size_t holders = 0;   ///< ranks that held each part before duplicates were removed; 0: not known
    std::string holder_ranks;  ///< "0–63" where they are the same for all parts, or empty
    std::uint64_t bytes = 0;   ///< of all parts
  };
  struct Part {
    std::uint32_t rank = 0;
    std::uint32_t file = 0;    ///< the number of a segment of the rank, or value_file + the number of a byte value
    std::uint32_t tensor = 0;  ///< position in tensors()
    std::uint32_t size = 0;    ///< of the box, position in sizes(); 0 for a byte value
    std::uint64_t bytes = 0;
  };
  static constexpr std::uint32_t value_file = std::uint32_t{1} << 31;

  explicit Writes(std::size_t ranks) : ranks_(ranks), values_(ranks, 0) {}

  /// A tensor whose parts follow from a rule. `held`: the rule before duplicates were removed; null: not known.
  /// Requires: layouts that check() accepts for so many ranks; nothing replicated in `written`.
  void add_rule(const LayoutItem& written, const MeshLayout* held);
  /// One item of a rank's plan. `holders`: the ranks that held it, ascending; empty: not known. `file`: as of Part; none: by the rule of our storage.
  /// Requires: rank < ranks.
  void add_item(std::size_t rank, const WriteItem& item, const std::vector<std::size_t>& holders, std::optional<std::uint32_t> file = {});

  std::size_t ranks() const { return ranks_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const std::vector<Dims>& sizes() const { return sizes_; }
  /// Every part, in the order in which they were added.
  void for_each(const std::function<void(const Part&)>& visit) const;
  static std::string file_name(std::uint32_t rank, std::uint32_t file);

  /// Tensors whose rule leaves elements to nobody, or gives some to two ranks.
  struct Fault {
    std::string tensor;
    bool overlap = false;  ///< else uncovered
  };
  const std::vector<Fault>& faults() const { return faults_; }

 private:
  struct Rule {
    std::uint32_t tensor = 0;
    std::uint32_t first_rank = 0;
    std::uint64_t element_bytes = 1;
    const Footprint* footprint = nullptr;
    std::vector<std::uint32_t> sizes;  ///< the footprint's, in sizes_
  };
  std::uint32_t size_number(const Dims& size);

  std::size_t ranks_;
  Footprints footprints_;
  std::vector<Tensor> tensors_;
  std::vector<Dims> sizes_;
  std::map<Dims, std::uint32_t> size_numbers_;
  std::map<std::pair<std::string, std::string>, std::uint32_t> tensor_numbers_;  ///< of add_item: by name and holders
  std::map<std::pair<std::size_t, std::string>, std::uint32_t> boxes_;           ///< of add_item: boxes of a tensor on a rank so far
  std::vector<std::uint32_t> values_;                                            ///< byte values of a rank so far
  std::vector<Rule> rules_;
  std::vector<Part> parts_;
  std::vector<Fault> faults_;
};

/// The plans of all ranks, as a global planner gives them: `plans[r]` is that of rank r. `local`: the plans that they were made of; null: nothing is known of
/// replicas.
Writes writes_of(const std::vector<SavePlan>& plans, const std::vector<SavePlan>* local = nullptr);

struct Spread {
  std::uint64_t min = 0;
  std::uint64_t median = 0;  ///< the lower of the two middle values
  std::uint64_t max = 0;
  double imbalance = 1;  ///< max / mean; 1 when all are 0
};
Spread spread_of(std::vector<std::uint64_t> values);

/// The numbers of a save.
struct SaveSummary {
  std::vector<std::uint64_t> rank_bytes;  ///< bytes that each rank writes, and stages before
  std::uint64_t bytes = 0;
  Spread spread;  ///< of rank_bytes
  std::size_t chunks = 0;
  std::size_t files = 0;
  std::size_t files_a_rank_max = 0;
  std::uint64_t bytes_held = 0;  ///< by all ranks, replicas included; 0 when not known
};
SaveSummary summarise(const Writes& writes);

}  // namespace holdfast::reports
