#include "impl/protocol/files.h"

#include <algorithm>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/protocol/durable.h"

namespace holdfast::protocol {
namespace {

Result<SyncedFile> write_durably(port::Storage& storage, std::string path, const SharedBytes& bytes, port::Deadline deadline) {
  const port::WritePiece piece{0, bytes.view(), bytes.owner()};
  return write_new_file(storage, std::move(path), {&piece, 1}, deadline);
}

/// Removes what an earlier, interrupted attempt at the same file left.
Status remove_leftover(port::Storage& storage, std::string_view path, port::Deadline deadline) {
  Status removed = storage.remove(path, deadline);
  if (!removed && removed.error().code != ErrorCode::not_found) return removed;
  return {};
}

/// The name is taken: by our own link, whose answer was lost and which was sent again (NFS does), or by somebody else's record?
Status ours_if_equal(port::Storage& storage, std::string_view path, const SharedBytes& bytes, const Error& error, port::Deadline deadline) {
  const Result<SharedBytes> there = read_file(storage, path, bytes.size(), deadline);
  if (there && std::ranges::equal(there->view(), bytes.view())) return {};
  return fail(within(Error{ErrorCode::unknown_outcome, error.message}, "publish \"{}\": something else has that name", path));
}

/// After a link or rename reported an error: is the name there? It decides between "not published" and "cannot tell".
Error after_failed_publish(port::Storage& storage, std::string_view path, Error error, port::Deadline deadline) {
  if (error.code != ErrorCode::timeout) {
    auto file = storage.open(path, deadline);
    if (file) {
      MARK("files.published_despite_error");
      (void)storage.close(*file);
    } else if (file.error().code == ErrorCode::not_found) {
      return error;
    }
  }
  return within(Error{ErrorCode::unknown_outcome, std::move(error.message)}, "publish \"{}\": it may or may not be there", path);
}

/// What came of the call that gives the name.
Status published(port::Storage& storage, std::string_view path, const Status& named, const SharedBytes& bytes, port::Deadline deadline) {
  if (named) return {};
  if (named.error().code == ErrorCode::already_exists) return ours_if_equal(storage, path, bytes, named.error(), deadline);
  return fail(after_failed_publish(storage, path, named.error(), deadline));
}

Status sync_published(port::Storage& storage, std::string_view directory, std::string_view path, port::Deadline deadline) {
  const Status synced = MUTATE("files.skip_directory_sync", storage.sync_directory(directory, deadline), Status());
  if (synced) return {};
  return fail(
      within(Error{ErrorCode::unknown_outcome, synced.error().message}, "publish \"{}\": it is there, but may not survive a crash", path));
}

}  // namespace

std::string join(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  if (name.empty()) return std::string(directory);
  return fmt::format("{}/{}", directory, name);
}

Result<SharedBytes> read_file(port::Storage& storage, std::string_view path, std::uint64_t bytes_max, port::Deadline deadline) {
  OpenFile file(storage, TRY(storage.open(path, deadline)));
  const std::uint64_t size = TRY(storage.size(file.id(), deadline));
  if (size > bytes_max) return fail(ErrorCode::corrupt, "read \"{}\": {} bytes, expected at most {}", path, size, bytes_max);
  const auto bytes = std::make_shared<Bytes>(size);
  const port::ReadPiece piece{0, *bytes, bytes};
  if (size != 0) TRY(storage.read_all(file.id(), {&piece, 1}, deadline));
  TRY(file.close());
  return SharedBytes(std::move(*bytes));
}

Status publish_if_absent(port::Storage& storage, std::string_view directory, std::string_view name, SharedBytes bytes,
                         port::Deadline deadline) {
  const std::string path = join(directory, name);
  TRY(remove_leftover(storage, path + ".tmp", deadline));
  const SyncedFile whole = TRY(write_durably(storage, path + ".tmp", bytes, deadline));
  const bool links = storage.caps().link_if_absent;
  const Status named = links ? storage.link_if_absent(whole.path(), path, deadline) : storage.rename(whole.path(), path, deadline);
  TRY(published(storage, path, named, bytes, deadline));
  if (links && !storage.remove(whole.path(), deadline)) MARK("files.temporary_left");  // harmless: readers ignore it, the sweep takes it
  return sync_published(storage, directory, path, deadline);
}

Status link_durably(port::Storage& storage, std::string_view from, std::string_view directory, std::string_view name,
                    const SharedBytes& bytes, port::Deadline deadline) {
  const std::string path = join(directory, name);
  TRY(published(storage, path, storage.link_if_absent(from, path, deadline), bytes, deadline));
  return sync_published(storage, directory, path, deadline);
}

Status replace_file(port::Storage& storage, std::string_view directory, std::string_view name, SharedBytes bytes, port::Deadline deadline) {
  const std::string path = join(directory, name);
  TRY(remove_leftover(storage, path + ".tmp", deadline));
  const SyncedFile whole = TRY(write_durably(storage, path + ".tmp", bytes, deadline));
  TRY(storage.rename(whole.path(), path, deadline));
  return storage.sync_directory(directory, deadline);
}

Status remove_all_but(port::Storage& storage, std::string_view directory, std::string_view kept, port::Deadline deadline) {
  for (const port::DirectoryEntry& entry : TRY(storage.list(directory, deadline))) {
    if (entry.name == kept) continue;
    const std::string path = join(directory, entry.name);
    TRY(entry.directory ? remove_directory_tree(storage, path, {}, deadline) : storage.remove(path, deadline));
  }
  return {};
}

Status empty_directory(port::Storage& storage, std::string_view directory, std::string_view first, port::Deadline deadline) {
  std::vector<port::DirectoryEntry> entries = TRY(storage.list(directory, deadline));
  std::ranges::sort(entries,
                    [&](const auto& a, const auto& b) { return std::pair(a.name != first, a.name) < std::pair(b.name != first, b.name); });
  for (const port::DirectoryEntry& entry : entries) {
    const std::string path = join(directory, entry.name);
    TRY(entry.directory ? remove_directory_tree(storage, path, {}, deadline) : storage.remove(path, deadline));
    // Without its commit record the directory is no checkpoint any more; that must be durable before anything it names goes.
    if (entry.name == first) TRY(storage.sync_directory(directory, deadline));
  }
  return {};
}

Status remove_directory_tree(port::Storage& storage, std::string_view directory, std::string_view first, port::Deadline deadline) {
  TRY(empty_directory(storage, directory, first, deadline));
  return storage.remove_directory(directory, deadline);
}

Status remove_directory_at_once(port::Storage& storage, std::string_view directory, std::string_view aside, port::Deadline deadline) {
  TRY(storage.rename(directory, aside, deadline));
  TRY(storage.sync_directory("", deadline));
  return remove_directory_tree(storage, aside, {}, deadline);
}

}  // namespace holdfast::protocol
