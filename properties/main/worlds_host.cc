// holdfast-validate: no CUDA runtime, simulated or real.
#include "properties/main/worlds.h"

namespace holdfast::properties {

Result<std::unique_ptr<World>> world_named(const WorldRequest& request) {
  for (const auto& [name, program] : {std::pair("simgpu", "holdfast-validate-simgpu"), std::pair("cuda1", "holdfast-validate-cuda"),
                                      std::pair("nccl", "holdfast-validate-cuda")}) {
    if (request.name == name)
      return fail(ErrorCode::unsupported, "world {}: {} is not beside this program: it was built without CUDA", name, program);
  }
  if (request.name == "launched") return launched_world(request, {});
  return make_world(request.name);
}

}  // namespace holdfast::properties
