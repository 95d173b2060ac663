// holdfast-validate-simgpu: our CUDA back end, linked to the simulated runtime.
#include "properties/main/worlds.h"
#include "properties/simgpu/simgpu_world.h"

namespace holdfast::properties {

Result<std::unique_ptr<World>> world_named(const WorldRequest& request) {
  if (request.name == "simgpu") return std::unique_ptr<World>(std::make_unique<SimGpuWorld>());
  return make_world(request.name);
}

void run_program_of(const std::string& /*world*/, char** /*argv*/) {}

}  // namespace holdfast::properties
