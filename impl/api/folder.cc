#include "impl/api/folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

namespace holdfast {
namespace {

/// Makes the name of a new directory in `parent` survive a crash.
Status sync_parent(const std::filesystem::path& parent) {
  const int fd = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int reason = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) return fail(ErrorCode::io_error, "make a folder: sync directory \"{}\": {}", parent.string(), std::strerror(reason));
  return {};
}

}  // namespace

Status make_folder(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code failure;
  const fs::path whole = fs::absolute(folder, failure).lexically_normal();
  std::vector<fs::path> absent;
  for (fs::path path = whole; !failure && !fs::exists(path, failure); path = path.parent_path()) {
    if (path.has_filename()) absent.push_back(path);
  }
  while (!failure && !absent.empty()) {
    fs::create_directory(absent.back(), failure);
    if (!failure) TRY(sync_parent(absent.back().parent_path()));
    absent.pop_back();
  }
  if (!failure && !fs::is_directory(whole, failure) && !failure) failure = std::make_error_code(std::errc::not_a_directory);
  if (!failure) return {};
  const ErrorCode code = failure == std::errc::no_space_on_device ? ErrorCode::no_space : ErrorCode::io_error;
  return fail(code, "make the folder \"{}\": {}", folder, failure.message());
}

}  // namespace holdfast
