// Which story a run of holdfast-sim tells: enough to tell it again from a file.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "properties/gen/state_spec.h"
#include "sim/campaign.h"

namespace holdfast::sim::program {

using Json = nlohmann::json;

struct Job {
  std::string workload = "save";  ///< "save", "museum-29", "museum-29-fixed"
  std::string layout;             ///< what the state was read from; empty: the small state
  std::string mutant;             ///< the planted bug that is active; empty: none
  bool save_again = true;
  properties::gen::StateSpec spec;                     ///< of "save"
  std::optional<properties::gen::WholeValues> values;  ///< real ones, when the layout is a safetensors file
};

struct JobRequest {
  std::string workload = "save";
  std::string layout;  ///< a layout file or a safetensors file; empty: a small state
  std::string mutant;
  int ranks = 4;
  bool save_again = true;
};

/// In the mutant build it also activates the mutant (or none) for the process.
/// Errors: invalid_argument for a workload or mutant that there is not; those of gen::read_layout_file and read_safetensors_state.
Result<Job> make_job(const JobRequest& request);

/// A workload of its own for each thread.
std::unique_ptr<Workload> make_workload(const Job& job);

/// The kinds of fault that the workload is meant to stand; empty: every kind.
std::vector<FaultKind> kinds_of(const Job& job);

Json to_json(const Job& job);
/// Reads real values again from where they came. Errors: corrupt, naming the field; as make_job.
Result<Job> job_from_json(const Json& json);

/// The model layout that campaigns use: the installed one where this program is installed, else that of the source.
std::string default_layout();

/// This build, as failure files name it.
std::string build_id();
constexpr bool has_mutants() {
#ifdef HOLDFAST_MUTANTS
  return true;
#else
  return false;
#endif
}

}  // namespace holdfast::sim::program
