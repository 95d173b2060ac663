// A save or load of a whole job in some world, as a property sees it: one result a rank, and what the world itself complained about.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "properties/gen/state_spec.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

/// Makes the writer or reader of one rank around the ordinary one; null uses the ordinary one.
using WrapWriter =
    std::function<std::shared_ptr<protocol::StorageWriter>(const port::Env&, Rank, std::shared_ptr<protocol::StorageWriter>)>;
using WrapReader =
    std::function<std::shared_ptr<protocol::StorageReader>(const port::Env&, Rank, std::shared_ptr<protocol::StorageReader>)>;

struct JobOptions {
  std::uint64_t seed = 0;
  Rank coordinator;
  bool no_dist = false;
  Step step{1};
  std::uint32_t block_bytes = 64;
  WrapWriter writer = {};
  WrapReader reader = {};
  std::string directory = {};  ///< with `reader`: the attempt the ordinary reader inside reads
};

struct SaveReport {
  std::vector<std::optional<CheckpointError>> errors;  ///< by rank
  std::string directory;                               ///< of the last rank that succeeded
  std::vector<std::string> problems;                   ///< the world's
};
SaveReport save_job(World& world, const gen::StateSpec& spec, const gen::WholeValues& values, const JobOptions& options);

struct LoadReport {
  std::vector<std::optional<CheckpointError>> errors;
  std::vector<std::optional<std::string>> differences;  ///< from `values` after a success; from untouched memory after a failure
  std::string directory;
  std::vector<std::string> problems;
};
LoadReport load_job(World& world, const gen::StateSpec& spec, const gen::WholeValues& values, const JobOptions& options);

/// What keeps a report from being a success everywhere, in one line; nothing if it is one.
std::optional<std::string> not_saved(const SaveReport& report);
std::optional<std::string> not_loaded(const LoadReport& report);

}  // namespace holdfast::properties
