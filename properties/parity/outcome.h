// What a world made of scenarios, as JSON: README.md of this folder. Equal outcomes are equal text.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "impl/core/error.h"

namespace holdfast::properties::parity {

inline constexpr int outcome_version = 1;

/// Of one world.
struct Outcomes {
  std::string world;    ///< "sim", "sim on threads", "procs with the mutant x"
  nlohmann::json runs;  ///< a list of {"scenario", "acts"}, one a scenario
};

nlohmann::json to_json(const Outcomes& outcomes);
/// Total, but for what stands in the runs beside scenario and acts: comparing knows nothing of it. Errors: invalid_argument; unsupported for a later
/// version.
Result<Outcomes> outcomes_from_json(const nlohmann::json& json, const std::string& where);
/// Errors: not_found, io_error; as above.
Result<Outcomes> read_outcomes(const std::string& path);

/// What came of an act, in one line: "committed step-2.a2, 9 files"; "failed at write on ranks 1,3, 4 files".
std::string summary(const nlohmann::json& act);
/// The first thing the world complained about in any act, with the act: a hang, a leak, a rank that did not come back. Empty if there is none.
std::string first_problem(const nlohmann::json& run);

}  // namespace holdfast::properties::parity
