// holdfast-validate: no CUDA runtime, simulated or real.
#include <unistd.h>

#include <filesystem>

#include "properties/main/worlds.h"

namespace holdfast::properties {

Result<std::unique_ptr<World>> world_named(const WorldRequest& request) {
  for (const auto& [name, program] : {std::pair("simgpu", "holdfast-validate-simgpu"), std::pair("cuda1", "holdfast-validate-cuda"),
                                      std::pair("nccl", "holdfast-validate-cuda")}) {
    if (request.name == name)
      return fail(ErrorCode::unsupported, "world {}: {} is not beside this program: it was built without CUDA", name, program);
  }
  if (request.name == "launched")
    return launched_world(request, [](const backend::Rendezvous&) { return Result<LaunchedOptions>(LaunchedOptions()); });
  return make_world(request.name);
}

void run_program_of(const std::string& world, char** argv) {
  const bool simulated = world == "simgpu", real = world == "cuda1" || world == "nccl";
  if (!simulated && !real) return;
  std::error_code unreadable;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", unreadable);
  const std::filesystem::path program = self.parent_path() / (simulated ? "holdfast-validate-simgpu" : "holdfast-validate-cuda");
  if (!unreadable) ::execv(program.c_str(), argv);
}

}  // namespace holdfast::properties
