// Proofs of durability. Each can be made only by the call that makes it true, and what must not come before that call asks for it: so the
// order of a save's durable steps is in the types.
//
//   NewFile: written, synced, closed -> SyncedFile: its bytes survive -> its directory synced -> DurablePart: its name does, too
//   -> a rank reports what it wrote (segment_result.h)
//
// A proof is moved, never copied, and says what was true when it was made: nobody removes files of an attempt that may still be committed.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "impl/port/storage.h"
#include "impl/protocol/files.h"

namespace holdfast::protocol {

/// The bytes of a file, all that was written to it, survive a crash. Its name may not.
class SyncedFile {
 public:
  SyncedFile(SyncedFile&&) = default;
  SyncedFile& operator=(SyncedFile&&) = default;

  const std::string& path() const { return path_; }

 private:
  friend class NewFile;
  explicit SyncedFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// A file that is being written. One that goes before it is synced is closed, and nothing is proved of it.
class NewFile {
 public:
  /// Errors: already_exists, no_space, io_error, timeout.
  static Result<NewFile> create(port::Storage& storage, std::string path, port::Deadline deadline);

  /// Says how long the file will be, before anything is written. Errors: no_space, io_error, timeout.
  Status reserve(std::uint64_t bytes, port::Deadline deadline) const;
  /// Several tasks may write at once. After an error the file must be given up.
  Status write(std::span<const port::WritePiece> pieces, port::Deadline deadline) const;
  /// Ends the writing; every write must have returned. An error of the sync or of the close, either of which may mean lost bytes, gives no
  /// proof.
  Result<SyncedFile> sync_and_close(port::Deadline deadline) &&;
  /// The lie that planted bugs tell (impl/core/mutate.h). Defined only where they are: any other program that calls it does not link.
  Result<SyncedFile> close_unsynced() &&;

 private:
  NewFile(port::Storage& storage, port::FileId file, std::string path) : storage_(&storage), file_(storage, file), path_(std::move(path)) {}

  port::Storage* storage_;
  OpenFile file_;
  std::string path_;
};

/// Creates `path` and writes `pieces`. Errors: already_exists, no_space, io_error, timeout. On an error the file may be left behind, in
/// part.
Result<SyncedFile> write_new_file(port::Storage& storage, std::string path, std::span<const port::WritePiece> pieces,
                                  port::Deadline deadline);

/// What one rank wrote of an attempt: files in its directory that survive a crash, bytes and names.
class DurablePart {
 public:
  /// Syncs `directory`, unless there are no files. Errors: invalid_argument, before anything is done, when a file does not lie directly in
  /// it: its name would be in a directory that was not synced. Else those of the sync.
  static Result<DurablePart> sync_directory(port::Storage& storage, std::string directory, std::vector<SyncedFile> files,
                                            port::Deadline deadline);
  DurablePart(DurablePart&&) = default;
  DurablePart& operator=(DurablePart&&) = default;

  /// Errors: invalid_argument when the file of this name is not one of the part.
  Status check_holds(std::string_view name) const;

 private:
  explicit DurablePart(std::string directory) : directory_(std::move(directory)) {}

  std::string directory_;
  std::set<std::string, std::less<>> names_;
};

}  // namespace holdfast::protocol
