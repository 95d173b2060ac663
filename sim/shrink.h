// From a failing case to a smaller one that fails alike: fewer faults, a milder crash, fewer choices that are not the default.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/workload.h"

namespace holdfast::sim {

/// The decisions of the case's run if it still fails alike, else nothing.
using StillFails = std::function<std::optional<std::vector<Decision>>(const Case&)>;

/// Alike: some violation of the same property. A run that diverges from its list fails nothing.
StillFails fails_alike(Workload& workload, const Disk& prepared, std::string property);

struct ShrinkOptions {
  std::uint64_t runs_max = 400;  ///< runs, not time: equal failures shrink equally everywhere
};

struct Shrunk {
  Case test;  ///< the smallest found, with the exact decisions to replay; the failing case itself when not even that failed again
  std::size_t faults_before = 0, faults_after = 0;
  std::size_t decisions_before = 0, decisions_after = 0;  ///< choices that are not the default
  std::uint64_t runs = 0;
  bool failed_again = true;          ///< false: the failing case passes when it is run again, which is a failure of determinism
  std::vector<std::string> history;  ///< what was taken away, a line each
};

/// One at a time, and kept while the case still fails: each fault, the power loss afterwards, a milder persistence model, random latency,
/// then decisions: all, halves, quarters ... of those that are not the default, from the end, at last singly.
Shrunk shrink(const Case& failing, const StillFails& still_fails, const ShrinkOptions& options = {});

/// Choices that are not the default.
std::size_t chosen_decisions(const std::vector<Decision>& decisions);

}  // namespace holdfast::sim
