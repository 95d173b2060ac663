// holdfast-validate-simgpu: our CUDA back end, linked to the simulated runtime.
#include "properties/main/worlds.h"
#include "properties/simgpu/simgpu_world.h"

namespace holdfast::properties {

Result<std::unique_ptr<World>> world_named(const std::string& name) {
  if (name == "simgpu") return std::unique_ptr<World>(std::make_unique<SimGpuWorld>());
  return make_world(name);
}

void run_simgpu_program(char** /*argv*/) {}

}  // namespace holdfast::properties
