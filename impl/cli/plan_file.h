// Plans as JSON, for planners in any language. The form: PLANS.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "impl/cli/planning.h"
#include "impl/core/state_dict.h"

namespace holdfast::cli {

inline constexpr std::size_t plan_items_max = 2'000'000;

/// The plan item by item, rules enumerated.
/// Errors: invalid_argument above plan_items_max, or for a load that the planner refuses (a shape that another mesh pads otherwise).
Result<Json> plan_to_json(const Planned& planned);

/// What a file says, ready for the oracle (impl/plan/check.h).
struct PlanFile {
  std::optional<plan::GlobalSavePlan> save;  ///< with the metadata that its own items make
  std::vector<SavePlan> held;                ///< by rank; as `save` when the file does not say
  std::optional<std::vector<LoadPlan>> load;
  std::vector<StateDict> wanted;  ///< by rank
  Metadata stored;                ///< what `load` reads from
};

/// A plan, or an object with a member "plan" (as holdfast plan --json --full prints).
/// Errors: invalid_argument, naming rank and item.
Result<PlanFile> parse_plan(std::string_view json, const std::string& path);

}  // namespace holdfast::cli
