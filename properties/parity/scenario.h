// A scenario of parity: tensors that jobs hold in layouts of their own, and acts that are performed in order on one storage. A value, kept as
// JSON: README.md of this folder.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "impl/protocol/load.h"
#include "model/expected_failures.h"
#include "properties/gen/state_spec.h"

namespace holdfast::properties::parity {

inline constexpr int scenario_version = 1;
inline constexpr int ranks_max = 64;
inline constexpr std::uint64_t job_bytes_max = 64 << 20;  ///< of tensors and values: a simulated disk lies in memory

/// Ranks that hold all tensors of the scenario, each laid out over them.
struct Job {
  Rank coordinator;
  gen::StateSpec state;
};

struct SaveAct {
  std::string job = {};
  Step step = {};
  std::uint64_t version = 1;                       ///< of the values (gen::make_values)
  bool async = false;                              ///< the tensors go away while the save goes on
  std::optional<model::InjectedFault> fails = {};  ///< a hook of the writer
};
struct LoadAct {
  std::string job = {};
  protocol::LoadMode mode = protocol::LoadMode::all_or_nothing;
  /// A hook of the reader. The load is then of the checkpoint that was committed last, and knows no other.
  std::optional<model::InjectedFault> fails = {};
};
/// One bit of a stored file becomes another.
struct DamageAct {
  std::string file = {};     ///< below the folder of checkpoints; empty: a file of the checkpoint that was committed last
  std::uint64_t number = 0;  ///< of that file, by name, modulo their count
  std::uint64_t bit = 0;     ///< modulo the bits of the file
};
struct LatestAct {};  ///< what lies in the folder, and which is the newest
struct VerifyAct {};  ///< every bit of every checkpoint
using Act = std::variant<SaveAct, LoadAct, DamageAct, LatestAct, VerifyAct>;

struct Scenario {
  std::string name;
  std::uint64_t seed = 0;  ///< of the schedules, where the world has one
  std::uint32_t block_bytes = 64;
  std::map<std::string, Job> jobs;  ///< of the same tensors and values, in the same order
  std::vector<Act> acts;
};

std::string to_string(const Act& act);  ///< "save step 2 of four, version 2, while write_data fails on ranks 1,3"

/// Equal scenarios give equal JSON.
nlohmann::json to_json(const Scenario& scenario);
/// Total: any JSON gives a scenario that can be performed, or an error that says where. Errors: invalid_argument; unsupported for a later version or
/// an unknown dtype.
Result<Scenario> scenario_from_json(const nlohmann::json& json, const std::string& where);
/// Errors: not_found, io_error; as above.
Result<Scenario> read_scenario(const std::string& path);

}  // namespace holdfast::properties::parity
