#include "impl/cli/output_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "impl/cli/signals.h"

namespace holdfast::cli {
namespace {

tl::unexpected<Error> refused(int reason, std::string_view doing, const std::string& path) {
  const ErrorCode code = reason == ENOSPC || reason == EDQUOT ? ErrorCode::no_space
                         : reason == EEXIST                   ? ErrorCode::already_exists
                                                              : ErrorCode::io_error;
  return fail(code, "{} \"{}\": {}", doing, path, std::strerror(reason));
}

std::string parent_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

Status sync_parent(const std::string& path) {
  const std::string parent = parent_of(path);
  const int fd = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int reason = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) return refused(reason, "sync directory", parent);
  return {};
}

/// What open() with O_CREAT would have given the file.
mode_t usual_mode() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

}  // namespace

Status check_output(const std::string& path, Existing existing) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  if (S_ISDIR(status.st_mode))
    return fail(ErrorCode::invalid_argument, "write \"{}\": it is a directory; expected the name of a file", path);
  if (existing == Existing::refuse) return fail(ErrorCode::already_exists, "write \"{}\": it exists; --force replaces it", path);
  return {};
}

Result<OutputFile> OutputFile::create(const std::string& path, std::size_t bytes, Existing existing) {
  TRY(check_output(path, existing));
  OutputFile file;
  file.path_ = path;
  file.existing_ = existing;
  std::string name = path + ".XXXXXX.tmp";
  file.fd_ = ::mkostemps(name.data(), 4, O_CLOEXEC);
  if (file.fd_ < 0) return refused(errno, "create a file beside", path);
  file.temporary_ = name;
  remove_on_interrupt(name);
  TRY(file.reserve(bytes));
  return file;
}

Status OutputFile::reserve(std::size_t bytes) {
  if (bytes == 0) return {};
  // A full disk shows here, and not as a signal when the mapping is written.
  if (const int reason = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes)); reason != 0)
    return refused(reason, "reserve space for", path_);
  void* mapping = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (mapping == MAP_FAILED) return refused(errno, "map", temporary_);
  bytes_ = {static_cast<std::byte*>(mapping), bytes};
  return {};
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, {})), existing_(other.existing_),
      fd_(std::exchange(other.fd_, -1)), bytes_(std::exchange(other.bytes_, {})) {}

void OutputFile::unmap() {
  if (bytes_.data()) ::munmap(bytes_.data(), bytes_.size());
  bytes_ = {};
}

OutputFile::~OutputFile() {
  unmap();
  if (fd_ >= 0) ::close(fd_);
  if (temporary_.empty()) return;
  ::unlink(temporary_.c_str());
  remove_on_interrupt("");
}

Status OutputFile::commit() {
  unmap();
  if (::fchmod(fd_, usual_mode()) != 0 || ::fsync(fd_) != 0) return refused(errno, "sync", path_);
  const bool replace = existing_ == Existing::replace;
  const int named = replace ? ::rename(temporary_.c_str(), path_.c_str()) : ::link(temporary_.c_str(), path_.c_str());
  if (named != 0) return refused(errno, "name", path_);
  if (!replace) ::unlink(temporary_.c_str());
  temporary_.clear();
  remove_on_interrupt("");
  return sync_parent(path_);
}

Status write_output(const std::string& path, ByteView bytes, Existing existing) {
  OutputFile file = TRY(OutputFile::create(path, bytes.size(), existing));
  std::ranges::copy(bytes, file.bytes().begin());
  return file.commit();
}

}  // namespace holdfast::cli
