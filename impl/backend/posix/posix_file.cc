#include "impl/backend/posix/posix_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

namespace holdfast::backend {
namespace {

constexpr mode_t file_mode = 0666;       // less the umask
constexpr mode_t directory_mode = 0777;  // likewise

ErrorCode code_of(int number) {
  switch (number) {
    case ENOENT: return ErrorCode::not_found;
    case EEXIST: return ErrorCode::already_exists;
    case ENOSPC:
    case EDQUOT: return ErrorCode::no_space;
    case ENOMEM: return ErrorCode::out_of_memory;
    case ENAMETOOLONG: return ErrorCode::invalid_argument;
    default: return ErrorCode::io_error;
  }
}

std::string text_of(int number) {
  const char* const text = ::strerrordesc_np(number);  // not strerror: that one shares a buffer and speaks the user's language
  return text ? text : fmt::format("error {}", number);
}

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

Error errno_error(int number, std::string what) { return {code_of(number), std::move(what) + ": " + text_of(number)}; }

PosixFile::PosixFile(int fd, std::string path, std::shared_ptr<PosixCalls> calls, std::shared_ptr<std::atomic<std::size_t>> live)
    : fd_(fd), path_(std::move(path)), calls_(std::move(calls)), live_(std::move(live)) {
  ++*live_;
}

PosixFile::~PosixFile() {
  if (fd_ >= 0) static_cast<void>(close());
}

Status PosixFile::write_all(const std::vector<port::WritePiece>& pieces) {
  for (const port::WritePiece& piece : pieces) {
    for (std::size_t done = 0; done < piece.bytes.size();) {
      const std::uint64_t at = piece.offset + done;
      const ssize_t wrote =
          uninterrupted([&] { return calls_->pwrite(fd_, piece.bytes.data() + done, piece.bytes.size() - done, static_cast<off_t>(at)); });
      if (wrote < 0) return system_error(errno, "write \"{}\" at {}", path_, at);
      // POSIX leaves it open; going round for ever would be a hang.
      if (wrote == 0) return fail(ErrorCode::io_error, "write \"{}\" at {}: nothing was written", path_, at);
      done += static_cast<std::size_t>(wrote);
    }
  }
  return {};
}

Status PosixFile::read_all(const std::vector<port::ReadPiece>& pieces) {
  for (const port::ReadPiece& piece : pieces) {
    for (std::size_t done = 0; done < piece.bytes.size();) {
      const std::uint64_t at = piece.offset + done;
      const std::size_t left = piece.bytes.size() - done;
      const ssize_t got = uninterrupted([&] { return calls_->pread(fd_, piece.bytes.data() + done, left, static_cast<off_t>(at)); });
      if (got < 0) return system_error(errno, "read \"{}\" at {}", path_, at);
      if (got == 0) return fail(ErrorCode::corrupt, "read \"{}\" at {}: the file ends here, {} more bytes were expected", path_, at, left);
      done += static_cast<std::size_t>(got);
    }
  }
  return {};
}

Result<std::uint64_t> PosixFile::size() {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return system_error(errno, "size of \"{}\"", path_);
  return static_cast<std::uint64_t>(info.st_size);
}

Status PosixFile::truncate(std::uint64_t size) {
  if (uninterrupted([&] { return ::ftruncate(fd_, static_cast<off_t>(size)); }) == 0) return {};
  return system_error(errno, "truncate \"{}\" to {}", path_, size);
}

Status PosixFile::sync() {
  const std::scoped_lock lock(sync_mutex_);
  if (sync_failure_) return fail(*sync_failure_);
  if (uninterrupted([&] { return calls_->fsync(fd_); }) == 0) return {};
  auto failed = system_error(errno, "sync \"{}\"", path_);
  sync_failure_ = failed.value();
  return failed;
}

Status PosixFile::close() {
  --*live_;
  // Not repeated after EINTR: on Linux the descriptor is gone by then, and may already be somebody else's.
  if (calls_->close(fd_.exchange(-1)) == 0 || errno == EINTR) return {};
  return system_error(errno, "close \"{}\"", path_);
}

PosixRoot::~PosixRoot() { ::close(fd_); }

Result<int> PosixRoot::open_file(std::string_view verb, const std::string& path, int flags) {
  const std::string what = fmt::format("{} \"{}\"", verb, path);
  // O_NONBLOCK: a FIFO in a checkpoint's directory must not hang the worker. It means nothing to a regular file.
  const int fd = uninterrupted([&] { return ::openat(fd_, path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, file_mode); });
  if (fd < 0) return system_error(errno, "{}", what);
  struct stat info;
  const int failure = ::fstat(fd, &info) != 0 ? errno : 0;
  if (failure == 0 && S_ISREG(info.st_mode)) return fd;
  ::close(fd);
  if (failure != 0) return system_error(failure, "{}", what);
  return fail(ErrorCode::io_error, "{}: not a regular file", what);
}

Status PosixRoot::make_directory(const std::string& path) {
  if (::mkdirat(fd_, path.c_str(), directory_mode) == 0) return {};
  return system_error(errno, "make directory \"{}\"", path);
}

Status PosixRoot::rename(const std::string& from, const std::string& to) {
  if (::renameat(fd_, from.c_str(), fd_, to.c_str()) == 0) return {};
  return system_error(errno, "rename \"{}\" to \"{}\"", from, to);
}

Status PosixRoot::link_if_absent(const std::string& from, const std::string& to) {
  if (calls_->linkat(fd_, from.c_str(), fd_, to.c_str(), 0) == 0) return {};
  const int number = errno;
  auto failed = system_error(number, "link \"{}\" to \"{}\"", from, to);
  if (number == EPERM || number == EOPNOTSUPP || number == ENOSYS) failed.value().code = ErrorCode::unsupported;
  return failed;
}

Status PosixRoot::remove(const std::string& path) {
  if (::unlinkat(fd_, path.c_str(), 0) == 0) return {};
  return system_error(errno, "remove \"{}\"", path);
}

Status PosixRoot::remove_directory(const std::string& path) {
  if (::unlinkat(fd_, path.c_str(), AT_REMOVEDIR) == 0) return {};
  return system_error(errno, "remove directory \"{}\"", path);
}

Result<int> PosixRoot::open_directory(std::string_view verb, const std::string& path) {
  const char* const name = path.empty() ? "." : path.c_str();
  const int fd = uninterrupted([&] { return ::openat(fd_, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return system_error(errno, "{} \"{}\"", verb, path);
  return fd;
}

Result<std::vector<port::DirectoryEntry>> PosixRoot::list(const std::string& path) {
  const int fd = TRY(open_directory("list", path));
  const std::unique_ptr<DIR, DirectoryCloser> directory(::fdopendir(fd));
  if (!directory) {
    const int number = errno;
    ::close(fd);
    return system_error(number, "list \"{}\"", path);
  }
  std::vector<port::DirectoryEntry> entries;
  while (true) {
    errno = 0;
    const dirent* const entry = ::readdir(directory.get());
    if (!entry && errno != 0) return system_error(errno, "list \"{}\"", path);
    if (!entry) return entries;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    bool is_directory = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK) {
      struct stat info;
      is_directory = ::fstatat(fd, entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
    }
    entries.push_back({std::string(name), is_directory});
  }
}

Status PosixRoot::sync_directory(const std::string& path) {
  const int fd = TRY(open_directory("sync directory", path));
  const int number = uninterrupted([&] { return calls_->fsync(fd); }) == 0 ? 0 : errno;
  ::close(fd);
  if (number != 0) return system_error(number, "sync directory \"{}\"", path);
  return {};
}

}  // namespace holdfast::backend
