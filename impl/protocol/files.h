// Small durable-file idioms over the Storage door, each with its crash argument. Tested once, used everywhere.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/port/storage.h"

namespace holdfast::protocol {

/// An open file, closed when it goes.
class OpenFile {
 public:
  OpenFile(port::Storage& storage, port::FileId file) : storage_(&storage), file_(file) {}
  OpenFile(OpenFile&& other) noexcept : storage_(std::exchange(other.storage_, nullptr)), file_(other.file_) {}
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile() {
    if (storage_) (void)storage_->close(file_);  // nothing was written, or the writing failed
  }

  port::FileId id() const { return file_; }
  Status close() { return std::exchange(storage_, nullptr)->close(file_); }

 private:
  port::Storage* storage_;
  port::FileId file_;
};

/// Joins two relative paths; either may be empty.
std::string join(std::string_view directory, std::string_view name);

/// Reads a whole file of at most `bytes_max`. Errors: not_found; corrupt when it is larger.
Result<SharedBytes> read_file(port::Storage& storage, std::string_view path, std::uint64_t bytes_max, port::Deadline deadline);

/// Gives `bytes` the name `name` in `directory`, whole or not at all, and never over an existing one. Durable on return.
/// Writes and syncs `name`.tmp first, then links (or renames, where the storage has no links): a crash before the link leaves no `name`, after it
/// the whole of it, and the last sync keeps it. Errors: unknown_outcome when the name may be there after a crash and may be not, or is there with
/// other bytes; with any other code the name is not there and will not come. Only one may publish a name: two would link each other's file.
Status publish_if_absent(port::Storage& storage, std::string_view directory, std::string_view name, SharedBytes bytes,
                         port::Deadline deadline);

/// Gives the file `from`, which is synced and holds `bytes`, the second name `name` in `directory`, never over an existing one. Durable on return; that
/// the name holds these bytes already is no error. Any number may do so at once. Errors: as publish_if_absent. Requires: Caps::link_if_absent.
Status link_durably(port::Storage& storage, std::string_view from, std::string_view directory, std::string_view name,
                    const SharedBytes& bytes, port::Deadline deadline);

/// Replaces `name` in `directory` by `bytes`: after a crash the old one or the new one is there, whole. Durable on return.
Status replace_file(port::Storage& storage, std::string_view directory, std::string_view name, SharedBytes bytes, port::Deadline deadline);

/// Removes what lies in a directory, but the file named `kept`.
Status remove_all_but(port::Storage& storage, std::string_view directory, std::string_view kept, port::Deadline deadline);

/// Removes what lies in a directory; the file named `first` goes before the others, durably.
Status empty_directory(port::Storage& storage, std::string_view directory, std::string_view first, port::Deadline deadline);

/// Removes a directory of the root, which goes in one step for all who know its name: it is renamed to `aside` first, durably.
/// A crash may leave `aside`. Requires: Caps::atomic_rename.
Status remove_directory_at_once(port::Storage& storage, std::string_view directory, std::string_view aside, port::Deadline deadline);

/// Empties a directory as above, and removes it.
Status remove_directory_tree(port::Storage& storage, std::string_view directory, std::string_view first, port::Deadline deadline);

}  // namespace holdfast::protocol
