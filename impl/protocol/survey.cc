#include "impl/protocol/survey.h"

#include <algorithm>

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

}  // namespace

Result<std::vector<plan::AttemptId>> list_attempts(port::Storage& storage, port::Deadline deadline) {
  std::vector<plan::AttemptId> all;
  Result<std::vector<port::DirectoryEntry>> entries = storage.list("", deadline);
  if (!entries && entries.error().code == ErrorCode::not_found) return all;
  if (!entries) return fail(within(entries.error(), "survey the checkpoints"));
  for (const port::DirectoryEntry& entry : *entries) {
    const auto id = plan::parse_directory_name(entry.name);
    if (entry.directory && id) all.push_back(*id);
  }
  std::ranges::sort(all, [](const auto& a, const auto& b) { return std::pair(a.attempt, a.step) > std::pair(b.attempt, b.step); });
  return all;
}

Result<Survey> survey(port::Storage& storage, port::Deadline deadline) {
  Survey found;
  found.all = TRY(list_attempts(storage, deadline));
  for (const plan::AttemptId id : found.all) TRY(look_into(storage, id, found, deadline));
  std::ranges::sort(found.committed, [](const auto& a, const auto& b) { return plan::newer(a.committed, b.committed); });
  return found;
}

std::vector<plan::Committed> committed_of(const Survey& found) {
  std::vector<plan::Committed> committed;
  for (const CommittedAttempt& attempt : found.committed) committed.push_back(attempt.committed);
  return committed;
}

}  // namespace holdfast::protocol
