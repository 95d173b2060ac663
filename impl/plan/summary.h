// What a plan costs, in numbers, for people: the header that stands above every printed or drawn plan.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "impl/core/plan_values.h"
#include "impl/plan/finding.h"
#include "impl/plan/save_plan.h"

namespace holdfast::plan {

constexpr double imbalance_warning = 2.0;
constexpr double hot_file_warning = 4.0;

/// Largest / mean; 1 when all are 0 or there is none.
double imbalance(std::span<const std::uint64_t> bytes);
/// Adds the warning "imbalance" when `factor` is above imbalance_warning.
void warn_of_imbalance(double factor, std::vector<Finding>& findings);

struct Spread {
  std::uint64_t min = 0;
  std::uint64_t median = 0;  ///< the lower of the two middle values
  std::uint64_t max = 0;
  bool operator==(const Spread&) const = default;
};
Spread spread(std::vector<std::uint64_t> values);

struct SaveSummary {
  std::uint64_t logical_bytes = 0;  ///< of every tensor and byte value once
  std::uint64_t written_bytes = 0;
  std::uint64_t dedup_saved_bytes = 0;  ///< held by the ranks, but not written
  std::size_t ranks = 0;
  std::size_t files = 0;  ///< ranks that write something
  std::size_t chunks = 0;
  Spread bytes_a_rank;
  double imbalance = 1;
  std::vector<Finding> findings;  ///< of check_save_plan, warnings included
};
/// `local`: the plans that `global` was made of. Enumerates what is planned by rule: time in proportion to ranks and boxes.
SaveSummary summarize(const GlobalSavePlan& global, std::span<const SavePlan> local);

struct LoadSummary {
  std::uint64_t needed_bytes = 0;  ///< of tensors, that the ranks fill
  std::uint64_t read_bytes = 0;    ///< from the first to the last needed byte of each item's saved chunk, stored row-major
  double amplification = 1;        ///< read / needed
  std::size_t ranks = 0;
  std::size_t items = 0;
  std::size_t files_a_rank_max = 0;
  Spread bytes_a_rank;  ///< needed
  double imbalance = 1;
  std::vector<Finding> findings;  ///< warnings: "imbalance" above 2; "hot-file", one of which over 4 times the mean is read
};
/// The plans of all ranks of one load. `written` are the plans that made the checkpoint, rank r's items lying in file r; without them
/// every saved chunk counts as a file of its own.
LoadSummary summarize(std::span<const LoadPlan> plans, const Metadata& metadata, std::span<const SavePlan> written = {});

/// Lines of "name value", ending with the findings; every line ends in a newline.
std::string to_string(const SaveSummary& summary);
std::string to_string(const LoadSummary& summary);

/// "1.5 GiB", "512 B".
std::string bytes_text(std::uint64_t bytes);

}  // namespace holdfast::plan
