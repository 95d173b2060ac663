#include "properties/workload/recording_storage.h"

#include "impl/core/check.h"
#include "impl/protocol/files.h"

namespace holdfast::properties {

Status RecordingStorage::record(std::string call) {
  const auto refused = refused_.find(call);
  calls_.push_back(std::move(call));
  return refused == refused_.end() ? Status() : Status(fail(refused->second));
}

Status RecordingStorage::record(std::string_view op, port::FileId file) {
  return record(fmt::format("{} {}", op, created_.at(static_cast<std::size_t>(file.value))));
}

Status RecordingStorage::make_directory(std::string_view path, port::Deadline) { return record(fmt::format("make_directory {}", path)); }

Result<port::FileId> RecordingStorage::create(std::string_view path, port::Deadline) {
  TRY(record(fmt::format("create {}", path)));
  created_.emplace_back(path);
  return port::FileId{static_cast<std::int64_t>(created_.size()) - 1};
}

Result<port::FileId> RecordingStorage::open(std::string_view path, port::Deadline) {
  TRY(record(fmt::format("open {}", path)));
  return fail(ErrorCode::not_found, "open \"{}\": not found", path);
}

Status RecordingStorage::close(port::FileId file) { return record("close", file); }
Status RecordingStorage::write_all(port::FileId file, std::span<const port::WritePiece>, port::Deadline) { return record("write", file); }
Status RecordingStorage::read_all(port::FileId file, std::span<const port::ReadPiece>, port::Deadline) { return record("read", file); }

Result<std::uint64_t> RecordingStorage::size(port::FileId file, port::Deadline) {
  TRY(record("size", file));
  return 0;
}

Status RecordingStorage::truncate(port::FileId file, std::uint64_t, port::Deadline) { return record("truncate", file); }
Status RecordingStorage::sync(port::FileId file, port::Deadline) { return record("sync", file); }

Status RecordingStorage::rename(std::string_view from, std::string_view to, port::Deadline) {
  return record(fmt::format("rename {} {}", from, to));
}
Status RecordingStorage::link_if_absent(std::string_view from, std::string_view to, port::Deadline) {
  return record(fmt::format("link {} {}", from, to));
}
Status RecordingStorage::remove(std::string_view path, port::Deadline) { return record(fmt::format("remove {}", path)); }
Status RecordingStorage::remove_directory(std::string_view path, port::Deadline) {
  return record(fmt::format("remove_directory {}", path));
}

Result<std::vector<port::DirectoryEntry>> RecordingStorage::list(std::string_view path, port::Deadline) {
  TRY(record(fmt::format("list {}", path)));
  return std::vector<port::DirectoryEntry>();
}

Status RecordingStorage::sync_directory(std::string_view path, port::Deadline) { return record(fmt::format("sync_directory {}", path)); }

protocol::DurablePart durable_part(const std::string& directory, std::span<const std::string> names) {
  RecordingStorage storage;
  std::vector<protocol::SyncedFile> files;
  for (const std::string& name : names) {
    auto file = protocol::write_new_file(storage, protocol::join(directory, name), {}, {});
    CHECK(file, "a storage that says yes");
    files.push_back(*std::move(file));
  }
  auto part = protocol::DurablePart::sync_directory(storage, directory, std::move(files), {});
  CHECK(part, "a storage that says yes");
  return *std::move(part);
}

}  // namespace holdfast::properties
