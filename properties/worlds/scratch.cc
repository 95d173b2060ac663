#include "properties/worlds/scratch.h"

#include <stdlib.h>

namespace holdfast::properties {
namespace {

std::filesystem::path root() {
  std::error_code ignored;
  const std::filesystem::path memory = "/dev/shm";
  return std::filesystem::is_directory(memory, ignored) ? memory : std::filesystem::temp_directory_path();
}

}  // namespace

Result<std::unique_ptr<Scratch>> Scratch::make() { return make_in(root()); }

Result<std::unique_ptr<Scratch>> Scratch::make_in(const std::filesystem::path& folder) {
  std::error_code wrong;
  std::filesystem::create_directories(folder, wrong);
  if (wrong) return fail(ErrorCode::io_error, "make the folder \"{}\": {}", folder.string(), wrong.message());
  std::string path = folder / "holdfast-XXXXXX";
  if (!mkdtemp(path.data())) return fail(ErrorCode::io_error, "make a directory for a world: cannot make one like \"{}\"", path);
  return std::unique_ptr<Scratch>(new Scratch(std::move(path)));
}

Scratch::~Scratch() {
  std::error_code ignored;  // nothing to tell it to
  std::filesystem::remove_all(path_, ignored);
}

void Scratch::empty() {
  std::filesystem::remove_all(path_);
  std::filesystem::create_directory(path_);
}

}  // namespace holdfast::properties
