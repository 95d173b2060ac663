#include "impl/protocol/durable.h"

#include "impl/core/mutate.h"

namespace holdfast::protocol {

Result<NewFile> NewFile::create(port::Storage& storage, std::string path, port::Deadline deadline) {
  const port::FileId file = TRY(storage.create(path, deadline));
  return NewFile(storage, file, std::move(path));
}

Status NewFile::reserve(std::uint64_t bytes, port::Deadline deadline) const { return storage_->truncate(file_.id(), bytes, deadline); }

Status NewFile::write(std::span<const port::WritePiece> pieces, port::Deadline deadline) const {
  return storage_->write_all(file_.id(), pieces, deadline);
}

Result<SyncedFile> NewFile::sync_and_close(port::Deadline deadline) && {
  const Status synced = storage_->sync(file_.id(), deadline);
  const Status closed = file_.close();
  TRY(synced);
  TRY(closed);
  return SyncedFile(std::move(path_));
}

#ifdef HOLDFAST_MUTANTS
Result<SyncedFile> NewFile::close_unsynced() && {
  TRY(file_.close());
  return SyncedFile(std::move(path_));
}
#endif

Result<SyncedFile> write_new_file(port::Storage& storage, std::string path, std::span<const port::WritePiece> pieces,
                                  port::Deadline deadline) {
  NewFile file = TRY(NewFile::create(storage, std::move(path), deadline));
  TRY(file.write(pieces, deadline));
  return MUTATE("files.skip_data_sync", std::move(file).sync_and_close(deadline), std::move(file).close_unsynced());
}

Result<DurablePart> DurablePart::sync_directory(port::Storage& storage, std::string directory, std::vector<SyncedFile> files,
                                                port::Deadline deadline) {
  DurablePart part(std::move(directory));
  for (const SyncedFile& file : files) {
    std::string name = file.path().substr(file.path().rfind('/') + 1);
    if (join(part.directory_, name) != file.path()) {
      return fail(ErrorCode::invalid_argument, "sync directory \"{}\": it is not the one of \"{}\"", part.directory_, file.path());
    }
    part.names_.insert(std::move(name));
  }
  if (!files.empty()) TRY(storage.sync_directory(part.directory_, deadline));
  return part;
}

Status DurablePart::check_holds(std::string_view name) const {
  if (names_.contains(name)) return {};
  return fail(ErrorCode::invalid_argument, "report \"{}\": it is none of the {} files that are durable in \"{}\"", name, names_.size(),
              directory_);
}

}  // namespace holdfast::protocol
