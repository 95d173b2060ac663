// The worlds that this program was linked with.
#pragma once

#include <functional>
#include <string>

#include "properties/worlds/launched_world.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

struct WorldRequest {
  std::string name;
  int processes = 0;        ///< of a launched world that this program starts itself; 0: a launcher has
  std::string folder;       ///< as LaunchedOptions has it
  bool share_gpus = false;  ///< world nccl: more ranks than GPUs
  std::string request;      ///< as LaunchedOptions has it
};

/// Errors: invalid_argument for a name that is no world of this program; unsupported for one that cannot be had here; as LaunchedWorld::make.
Result<std::unique_ptr<World>> world_named(const WorldRequest& request);

/// The world of the processes that a launcher has started. With `request.processes`, this process becomes rank 0 and forks the others, which come back
/// from here, too, and have no standard output. So it must have no other thread. `options` are asked for when this process knows its rank. Errors: theirs; as
/// LaunchedWorld::make; invalid_argument without either.
Result<std::unique_ptr<World>> launched_world(const WorldRequest& request,
                                              const std::function<Result<LaunchedOptions>(const backend::Rendezvous&)>& options);

/// Where `world` belongs to another program beside this one, becomes that, with the same arguments. Returns where it cannot, or need not.
void run_program_of(const std::string& world, char** argv);

}  // namespace holdfast::properties
