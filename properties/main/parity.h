// holdfast-validate --parity and --compare-parity: scenarios performed in a world, outcomes of worlds compared.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "properties/gen/drawn_case.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

struct ParityArguments {
  std::string scenario;               ///< a file
  std::optional<std::uint64_t> seed;  ///< or drawn from it, as many as there are cases
  std::vector<std::string> compare;   ///< files of outcomes
  std::string html;                   ///< where the report goes; empty: none
  bool asked() const { return !scenario.empty() || seed; }
};

/// Performs the scenarios in `world`, which is called `title` in the outcome, and prints it. Returns the exit status: 1 when the world had a problem
/// (a hang, a leak), 2 when there is no scenario to perform.
int perform_parity(World& world, const std::string& title, const ParityArguments& arguments, gen::DrawOptions draw, bool json);

/// Prints where the outcomes differ. Returns the exit status: 0 equal, 1 different, 2 no verdict.
int compare_parity(const ParityArguments& arguments, bool json);

}  // namespace holdfast::properties
