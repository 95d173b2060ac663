// File descriptors with an owner, and the blocking operations of PosixStorage on them. They run on I/O workers.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "impl/backend/posix/io_engine.h"
#include "impl/backend/posix/posix_calls.h"
#include "impl/port/storage.h"

namespace holdfast::backend {

/// The descriptors of one open file.
struct Descriptors {
  int buffered = -1;
  int direct = -1;  ///< O_DIRECT; -1 where the file system or the engine has none
};

/// An open file. Shared by the handle table and the operations under way; closed when the last lets go.
class PosixFile {
 public:
  /// `live` counts the files that are open.
  PosixFile(Descriptors fds, std::string path, std::shared_ptr<PosixCalls> calls, std::shared_ptr<IoEngine> engine,
            std::shared_ptr<std::atomic<std::size_t>> live);
  ~PosixFile();
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  const std::string& path() const { return path_; }
  /// Pieces that overlap are written in order. Past `deadline` nothing more is begun.
  Status write_all(const std::vector<port::WritePiece>& pieces, port::Deadline deadline);
  Status read_all(const std::vector<port::ReadPiece>& pieces, port::Deadline deadline);
  Result<std::uint64_t> size();
  Status truncate(std::uint64_t size);
  /// After one failure always that failure.
  Status sync();
  /// Requires: the caller is the only owner.
  Status close();

 private:
  std::uint64_t alignment() const;
  Status reserve(const std::vector<IoPart>& parts);
  Result<bool> reserve(std::uint64_t there, std::uint64_t end);
  Status transfer(IoKind kind, IoLane& lane, const std::vector<IoPart>& parts, std::size_t at_once, port::Deadline deadline);

  std::atomic<bool> open_{true};
  const Descriptors fds_;
  const std::string path_;
  const std::shared_ptr<PosixCalls> calls_;
  const std::shared_ptr<IoEngine> engine_;
  const std::shared_ptr<std::atomic<std::size_t>> live_;
  std::atomic<bool> direct_refused_{false};
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

  /// Descriptors of a regular file; with O_DIRECT too as far as `engine` wants it and the file system has it.
  Result<Descriptors> open_file(std::string_view verb, const std::string& path, int flags, IoEngine& engine);
  Status make_directory(const std::string& path);
  Status rename(const std::string& from, const std::string& to);
  Status link_if_absent(const std::string& from, const std::string& to);
  Status remove(const std::string& path);
  Status remove_directory(const std::string& path);
  Result<std::vector<port::DirectoryEntry>> list(const std::string& path);
  Status sync_directory(const std::string& path);

 private:
  Result<int> open_regular(const std::string& what, const std::string& path, int flags);
  Result<int> open_direct(const std::string& what, const std::string& path, int flags, int same, IoEngine& engine);
  Result<int> open_directory(std::string_view verb, const std::string& path);
  const int fd_;
  const std::shared_ptr<PosixCalls> calls_;
};

}  // namespace holdfast::backend
