// The door to durable storage: exactly the facts durability rests on.
//
// Every call blocks until it is done, or until its deadline: then it returns `timeout` and the operation is abandoned. An abandoned
// operation may still take effect later; it keeps the owners of its buffers until it ends. Paths are relative to the storage's root, with
// '/' between components, no leading '/', and "" for the root itself.
//
// Errors beside those named: timeout; not_found for a path, or a folder above it, that does not exist; no_space; io_error for what else
// the storage refuses, with its reason.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/error.h"
#include "impl/port/clock.h"

namespace holdfast::port {

/// What a back end promises. A capability not claimed here makes the protocol take a weaker path or refuse.
struct Caps {
  bool atomic_rename = true;       ///< rename replaces the target in one step, seen whole or not at all
  bool link_if_absent = true;      ///< link fails when the target exists, in one step
  bool ranged_write = true;        ///< a file may be written at any offset
  bool list_after_write = true;    ///< list shows what any rank finished before
  bool durable_on_return = false;  ///< every call is durable when it returns; sync and sync_directory then do nothing
  Duration visibility_lag_max{0};  ///< how long another rank may not see a finished change
  /// A piece goes the fast way (past the page cache, uncopied) as far as its memory address and its offset lie alike within multiples of
  /// this many bytes; the ends that do not fill one, and all other pieces, are as right and slower. 1: nothing to gain.
  std::uint32_t io_alignment = 1;
};

struct FileId {
  std::int64_t value = -1;
  auto operator<=>(const FileId&) const = default;
};

/// `owner` keeps `bytes` alive for an abandoned operation; it must not be null unless the bytes are empty.
struct WritePiece {
  std::uint64_t offset = 0;
  ByteView bytes;
  std::shared_ptr<const void> owner;
};
struct ReadPiece {
  std::uint64_t offset = 0;
  ByteSpan bytes;
  std::shared_ptr<void> owner;
};

struct DirectoryEntry {
  std::string name;  ///< one component
  bool directory = false;
  auto operator<=>(const DirectoryEntry&) const = default;
};

class Storage {
 public:
  virtual ~Storage() = default;
  /// Does not change.
  virtual Caps caps() const = 0;

  /// Creates one directory; already_exists when there is one. After a crash: may be gone until sync_directory(parent).
  virtual Status make_directory(std::string_view path, Deadline deadline) = 0;
  /// Creates a file for writing and reading; already_exists when the name is taken. After a crash: the name may be gone until
  /// sync_directory(parent), the bytes until sync(file).
  virtual Result<FileId> create(std::string_view path, Deadline deadline) = 0;
  /// Opens a file for reading; not_found.
  virtual Result<FileId> open(std::string_view path, Deadline deadline) = 0;
  /// Gives the handle back. Says nothing about durability; an error here means an earlier write may be lost.
  virtual Status close(FileId file) = 0;

  /// Writes every piece whole; short writes are continued. After a crash: any subset, torn anywhere, until sync(file).
  virtual Status write_all(FileId file, std::span<const WritePiece> pieces, Deadline deadline) = 0;
  /// Fills every piece; a piece past the end of the file is `corrupt` (the file is shorter than its reader was told).
  virtual Status read_all(FileId file, std::span<const ReadPiece> pieces, Deadline deadline) = 0;
  /// In bytes, as written so far.
  virtual Result<std::uint64_t> size(FileId file, Deadline deadline) = 0;
  /// Makes the file `size` bytes long; what it gains is zeros, for which the room may be taken at once: who knows how long a file will be and says so before
  /// writing can write at several places at once. After a crash: may be undone until sync(file).
  virtual Status truncate(FileId file, std::uint64_t size, Deadline deadline) = 0;
  /// When it returns, every byte and the size written before survive a crash. After an error the file's un-synced bytes are lost
  /// for good: a second sync that succeeds proves nothing (fsync-gate), so the file must be given up.
  virtual Status sync(FileId file, Deadline deadline) = 0;

  /// Replaces `to` if it exists. After a crash: old or new until sync_directory of both parents.
  virtual Status rename(std::string_view from, std::string_view to, Deadline deadline) = 0;
  /// Gives `from` the second name `to`; already_exists when that is taken. After a crash: may be undone until sync_directory(parent of to).
  virtual Status link_if_absent(std::string_view from, std::string_view to, Deadline deadline) = 0;
  /// Removes a file. After a crash: may be back until sync_directory(parent).
  virtual Status remove(std::string_view path, Deadline deadline) = 0;
  /// Removes a directory; io_error when it is not empty. After a crash: may be back until sync_directory(parent).
  virtual Status remove_directory(std::string_view path, Deadline deadline) = 0;
  /// The entries of a directory in no order; not_found.
  virtual Result<std::vector<DirectoryEntry>> list(std::string_view path, Deadline deadline) = 0;
  /// When it returns, the names created, renamed and removed in this directory before survive a crash.
  virtual Status sync_directory(std::string_view path, Deadline deadline) = 0;
};

}  // namespace holdfast::port
