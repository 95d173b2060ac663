#include "impl/protocol/survey.h"

#include <algorithm>
#include <iterator>

#include "impl/format/manifest.h"
#include "impl/protocol/files.h"

namespace holdfast::protocol {
namespace {

Status look_into(port::Storage& storage, plan::AttemptId id, Survey& found, port::Deadline deadline) {
  const std::string directory = plan::directory_name(id);
  const std::string path = join(directory, manifest_name);
  Result<SharedBytes> bytes = read_file(storage, path, manifest_bytes_max, deadline);
  const bool given_up = bytes && std::ranges::equal(bytes->view(), as_bytes(given_up_record));
  if (given_up || (!bytes && bytes.error().code == ErrorCode::not_found)) {
    found.uncommitted.push_back(id);
    return {};
  }
  Result<format::ManifestReader> manifest = bytes ? format::ManifestReader::open(*bytes, path) : fail(bytes.error());
  if (manifest && (manifest->step() != id.step || manifest->attempt() != id.attempt)) {
    manifest = fail(ErrorCode::corrupt, "\"{}\" says step {} attempt {}: it belongs to another directory", path, manifest->step(),
                    manifest->attempt());
  }
  if (manifest) {
    found.committed.push_back({{id, manifest->sequence()}, directory});
    return {};
  }
  if (manifest.error().code != ErrorCode::corrupt && manifest.error().code != ErrorCode::unsupported) return fail(manifest.error());
  found.damaged.push_back({id, directory, manifest.error()});
  return {};
}

/// The directories of the root; none when there is no root.
Result<std::vector<std::string>> list_directories(port::Storage& storage, port::Deadline deadline) {
  std::vector<std::string> names;
  Result<std::vector<port::DirectoryEntry>> entries = storage.list("", deadline);
  if (!entries && entries.error().code == ErrorCode::not_found) return names;
  if (!entries) return fail(within(entries.error(), "survey the checkpoints"));
  for (port::DirectoryEntry& entry : *entries) {
    if (entry.directory) names.push_back(std::move(entry.name));
  }
  return names;
}

std::vector<plan::AttemptId> attempts_of(const std::vector<std::string>& directories) {
  std::vector<plan::AttemptId> all;
  for (const std::string& directory : directories) {
    if (const auto id = plan::parse_directory_name(directory)) all.push_back(*id);
  }
  std::ranges::sort(all, [](const auto& a, const auto& b) { return std::pair(a.attempt, a.step) > std::pair(b.attempt, b.step); });
  return all;
}

bool is_removed(std::string_view directory) {
  return directory.ends_with(removed_suffix) && plan::parse_directory_name(directory.substr(0, directory.size() - removed_suffix.size()));
}

}  // namespace

Result<std::vector<plan::AttemptId>> list_attempts(port::Storage& storage, port::Deadline deadline) {
  return attempts_of(TRY(list_directories(storage, deadline)));
}

Result<Survey> survey(port::Storage& storage, port::Deadline deadline) {
  Survey found;
  const std::vector<std::string> directories = TRY(list_directories(storage, deadline));
  found.all = attempts_of(directories);
  for (const plan::AttemptId id : found.all) TRY(look_into(storage, id, found, deadline));
  std::ranges::sort(found.committed, [](const auto& a, const auto& b) { return plan::newer(a.committed, b.committed); });
  std::ranges::copy_if(directories, std::back_inserter(found.removed), is_removed);
  return found;
}

std::vector<plan::Committed> committed_of(const Survey& found) {
  std::vector<plan::Committed> committed;
  for (const CommittedAttempt& attempt : found.committed) committed.push_back(attempt.committed);
  return committed;
}

}  // namespace holdfast::protocol
