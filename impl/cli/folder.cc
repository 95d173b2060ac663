#include "impl/cli/folder.h"

#include <filesystem>

#include "impl/backend/posix/posix_storage.h"
#include "impl/cli/metered_storage.h"

namespace holdfast::cli {

Result<Location> locate(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code failure;
  const fs::path whole = fs::canonical(path, failure);
  const fs::file_status status = failure ? fs::file_status() : fs::status(whole, failure);
  if (failure) {
    const ErrorCode code = failure == std::errc::no_such_file_or_directory ? ErrorCode::not_found : ErrorCode::io_error;
    return fail(code, "open \"{}\": {}; expected a checkpoint or a folder of checkpoints", path, failure.message());
  }
  if (fs::is_regular_file(status)) return Location{PathKind::file, path, ""};
  if (!fs::is_directory(status)) return fail(ErrorCode::invalid_argument, "\"{}\" is neither a directory nor a regular file", path);
  const std::string name = whole.filename().string();
  if (plan::parse_directory_name(name)) return Location{PathKind::attempt, whole.parent_path().string(), name};
  if (fs::exists(whole / protocol::manifest_name, failure)) {
    return fail(ErrorCode::invalid_argument, "\"{}\" holds a MANIFEST but is not named as a checkpoint; expected its own name, step-N.aK",
                path);
  }
  return Location{PathKind::folder, whole.string(), ""};
}

Result<OpenFolder> OpenFolder::open(const Location& location, Progress& progress) {
  if (location.kind == PathKind::file) {
    return fail(ErrorCode::invalid_argument, "\"{}\" is a file; expected a checkpoint or a folder of checkpoints", location.folder);
  }
  OpenFolder folder;
  auto storage = std::make_shared<MeteredStorage>(TRY(backend::PosixStorage::open_root(location.folder)), progress);
  folder.job_ = Job::alone();
  folder.checkpoints_ = std::make_unique<Checkpoints>(*folder.job_, std::move(storage));
  return folder;
}

Stored stored(const format::Manifest& manifest) {
  Stored sum{manifest.segments.size() + manifest.bytes.size(), 0};
  for (const format::SegmentRecord& segment : manifest.segments) sum.bytes += segment.file_bytes;
  for (const auto& [name, record] : manifest.bytes) sum.bytes += record.bytes;
  return sum;
}

std::uint64_t logical_bytes(const format::Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const auto& [name, record] : manifest.tensors) {
    bytes += static_cast<std::uint64_t>(whole(record.metadata.shape).volume()) * size_bytes(record.metadata.dtype);
  }
  for (const auto& [name, record] : manifest.bytes) bytes += record.bytes;
  return bytes;
}

Result<std::string> choose(Checkpoints& checkpoints, const Location& location, const Console& console) {
  if (location.kind == PathKind::attempt) return location.directory;
  const Survey found = TRY(checkpoints.list());
  for (const protocol::DamagedAttempt& attempt : found.damaged)
    console.note("passed over {}: {}", attempt.directory, attempt.error.message);
  Result<std::string> latest = checkpoints.latest();
  if (!latest) return fail(within(latest.error(), "\"{}\"", location.folder));
  return latest;
}

}  // namespace holdfast::cli
