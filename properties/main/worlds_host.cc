// holdfast-validate: no CUDA runtime, simulated or real.
#include <unistd.h>

#include <filesystem>

#include "properties/main/worlds.h"

namespace holdfast::properties {

Result<std::unique_ptr<World>> world_named(const std::string& name) {
  if (name == "simgpu")
    return fail(ErrorCode::unsupported, "world simgpu: holdfast-validate-simgpu is not beside this program: it was built without CUDA");
  return make_world(name);
}

void run_simgpu_program(char** argv) {
  std::error_code unreadable;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", unreadable);
  if (!unreadable) execv((self.parent_path() / "holdfast-validate-simgpu").c_str(), argv);
}

}  // namespace holdfast::properties
