// Who writes what, worked out rank by rank and run by run from what the planner documents (impl/plan/ownership.h, impl/plan/pieces.h). Naive on purpose:
// it asks of elements who writes them, where the planner computes where pieces begin.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "impl/core/plan_values.h"

namespace holdfast::model {

/// Elements [begin, end) of a tensor, numbered row-major, that one rank writes.
struct WrittenRun {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  Rank rank;
  bool operator==(const WrittenRun&) const = default;
};

struct NaivePlan {
  std::map<std::string, std::vector<WrittenRun>> tensors;  ///< ascending; neighbours of one rank joined
  std::map<std::string, Rank> values;                      ///< byte values
  bool operator==(const NaivePlan&) const = default;
};

enum class WriterChoice { least_bytes, lowest_rank };

/// Plan i is rank i's own. Requires plans that can be saved: they agree, and all of every tensor is there.
NaivePlan naive_plan(std::span<const SavePlan> local, WriterChoice choice = WriterChoice::least_bytes);

/// The same form of what plan i tells rank i to write, box by box. An element that is written twice stays twice.
NaivePlan written_by(std::span<const SavePlan> global);

}  // namespace holdfast::model
