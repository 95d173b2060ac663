// What a property draws: one job that saves, one that loads the same state under other layouts, and the choices of a fault.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "properties/gen/state_spec.h"

namespace holdfast::properties::gen {

struct DrawnCase {
  StateSpec saved;
  StateSpec loaded;          ///< the same tensors and values; another world, other layouts
  Rank coordinator;          ///< of the saving world
  Rank load_coordinator;     ///< of the loading world
  std::vector<Rank> chosen;  ///< one rank at least, of the saving world, ascending: where a fault is injected
  std::vector<Rank> load_chosen;
  std::uint32_t block_bytes = 64;
  std::uint64_t seed = 0;  ///< of the schedule
};
std::string show(const DrawnCase& drawn);

struct DrawOptions {
  std::uint64_t seed = 1;
  std::uint64_t cases = 100;
  int ranks_max = 8;
  bool shrink = true;  ///< a case that fails; else the first one found is told
};

struct Outcome {
  std::uint64_t cases = 0;     ///< that passed
  std::string failure;         ///< empty, or what did not hold in the smallest case found
  std::string counterexample;  ///< show() of that case
  std::string counted = {};    ///< what beside cases was counted, for the report; may be empty
};

/// Draws cases until one fails or all hold; shrinks the one that fails. `holds` gives nothing, or what is wrong. Not re-entrant: RapidCheck's state is
/// the process's.
Outcome for_all(const DrawOptions& options, const std::function<std::optional<std::string>(const DrawnCase&)>& holds);

}  // namespace holdfast::properties::gen
