// Storage over the POSIX calls of one machine: files below a root directory.
#pragma once

#include <memory>
#include <string>

#include "impl/backend/posix/io_engine.h"
#include "impl/backend/posix/posix_calls.h"
#include "impl/port/storage.h"

namespace holdfast::backend {

struct PosixStorageOptions {
  int workers = 4;                               ///< operations that run at the same time
  port::Duration close_timeout{30'000'000'000};  ///< deadline of close(), which has none of its own
  port::Caps caps{};                             ///< what the mount promises: weaken it for a network file system; io_alignment is set here
  IoEngineOptions engine{};                      ///< how bytes travel; automatic: the fastest that works
  std::shared_ptr<PosixCalls> calls = std::make_shared<PosixCalls>();
};

/// May be called from any thread; deadlines are SteadyClock's. Operations run on I/O workers: an operation that has not begun at its
/// deadline never will; one that has goes on, abandoned, with the file and the buffers it uses, until what the kernel already has is done.
///
/// Bytes travel by io_uring and past the page cache where the system allows it (io_engine.h): of pieces whose memory and offset lie alike
/// modulo caps().io_alignment, all but the ends. Reads never come from the page cache then, aligned or not; the others are copied once.
/// Memory on huge pages is two to three times as fast (README.md).
///
/// Paths that are absolute or have an empty, "." or ".." component are invalid_argument; symbolic links are followed. Errors carry the
/// operation, the path and the system's text: `write "x" at 4096: No space left on device`. ENOENT is not_found, EEXIST already_exists,
/// ENOSPC and EDQUOT no_space, ENOMEM out_of_memory, ENAMETOOLONG invalid_argument; a link on a file system that has none is unsupported;
/// all others are io_error. A sync that failed fails again on the same handle, so that a retry cannot pass for success. A handle that is
/// not open is a CHECK.
class PosixStorage : public port::Storage {
 public:
  /// `root` must be a directory. Errors: not_found, io_error; unsupported when an engine that `options` ask for does not work.
  static Result<std::unique_ptr<PosixStorage>> open_root(const std::string& root, PosixStorageOptions options = {});
  /// Waits for nothing; abandoned operations go on. Files that are open are closed.
  ~PosixStorage() override;
  PosixStorage(const PosixStorage&) = delete;
  PosixStorage& operator=(const PosixStorage&) = delete;

  /// "io_uring + O_DIRECT", or what it is instead and why: "threads + page cache (io_uring: Operation not permitted; O_DIRECT: Invalid
  /// argument)".
  std::string engine() const;

  port::Caps caps() const override;
  Status make_directory(std::string_view path, port::Deadline deadline) override;
  Result<port::FileId> create(std::string_view path, port::Deadline deadline) override;
  Result<port::FileId> open(std::string_view path, port::Deadline deadline) override;
  /// Errors: timeout also when an abandoned operation still uses the file: it is closed when that ends.
  Status close(port::FileId file) override;
  Status write_all(port::FileId file, std::span<const port::WritePiece> pieces, port::Deadline deadline) override;
  Status read_all(port::FileId file, std::span<const port::ReadPiece> pieces, port::Deadline deadline) override;
  Result<std::uint64_t> size(port::FileId file, port::Deadline deadline) override;
  Status truncate(port::FileId file, std::uint64_t size, port::Deadline deadline) override;
  Status sync(port::FileId file, port::Deadline deadline) override;
  Status rename(std::string_view from, std::string_view to, port::Deadline deadline) override;
  Status link_if_absent(std::string_view from, std::string_view to, port::Deadline deadline) override;
  Status remove(std::string_view path, port::Deadline deadline) override;
  Status remove_directory(std::string_view path, port::Deadline deadline) override;
  Result<std::vector<port::DirectoryEntry>> list(std::string_view path, port::Deadline deadline) override;
  Status sync_directory(std::string_view path, port::Deadline deadline) override;

  // For leak tests.
  std::size_t live_files() const;    ///< open files, those of abandoned operations included
  int abandoned_operations() const;  ///< those that still run

 private:
  struct State;
  explicit PosixStorage(std::unique_ptr<State> state);
  Result<port::FileId> open_file(std::string_view verb, std::string_view path, int flags, port::Deadline deadline);
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::backend
