// File descriptors with an owner, and the blocking operations of PosixStorage on them. They run on I/O workers.
#pragma once

#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "impl/backend/posix/posix_calls.h"
#include "impl/port/storage.h"

namespace holdfast::backend {

/// The error for `number` (an errno) met while doing `what`: "what: the system's text".
Error errno_error(int number, std::string what);
/// The same as a failed result. errno is taken by value, before the text is made.
template <typename... Args>
tl::unexpected<Error> system_error(int number, fmt::format_string<Args...> what, Args&&... args) {
  return fail(errno_error(number, fmt::format(what, std::forward<Args>(args)...)));
}

/// Calls `call` until it is not interrupted by a signal.
template <typename Call>
auto uninterrupted(Call call) -> decltype(call()) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

/// An open file. Shared by the handle table and the operations under way; closed when the last lets go.
class PosixFile {
 public:
  /// `live` counts the descriptors that are open.
  PosixFile(int fd, std::string path, std::shared_ptr<PosixCalls> calls, std::shared_ptr<std::atomic<std::size_t>> live);
  ~PosixFile();
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  const std::string& path() const { return path_; }
  Status write_all(const std::vector<port::WritePiece>& pieces);
  Status read_all(const std::vector<port::ReadPiece>& pieces);
  Result<std::uint64_t> size();
  Status truncate(std::uint64_t size);
  /// After one failure always that failure.
  Status sync();
  /// Requires: the caller is the only owner.
  Status close();

 private:
  std::atomic<int> fd_;
  const std::string path_;
  const std::shared_ptr<PosixCalls> calls_;
  const std::shared_ptr<std::atomic<std::size_t>> live_;
  std::mutex sync_mutex_;
  std::optional<Error> sync_failure_;
};

/// A directory below which all paths are resolved, by descriptor: nobody can move it away underneath.
class PosixRoot {
 public:
  PosixRoot(int fd, std::shared_ptr<PosixCalls> calls) : fd_(fd), calls_(std::move(calls)) {}
  ~PosixRoot();
  PosixRoot(const PosixRoot&) = delete;
  PosixRoot& operator=(const PosixRoot&) = delete;

  /// A descriptor of a regular file.
  Result<int> open_file(std::string_view verb, const std::string& path, int flags);
  Status make_directory(const std::string& path);
  Status rename(const std::string& from, const std::string& to);
  Status link_if_absent(const std::string& from, const std::string& to);
  Status remove(const std::string& path);
  Status remove_directory(const std::string& path);
  Result<std::vector<port::DirectoryEntry>> list(const std::string& path);
  Status sync_directory(const std::string& path);

 private:
  Result<int> open_directory(std::string_view verb, const std::string& path);
  const int fd_;
  const std::shared_ptr<PosixCalls> calls_;
};

}  // namespace holdfast::backend
