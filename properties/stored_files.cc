#include "properties/stored_files.h"

#include <algorithm>

#include "impl/core/check.h"
#include "impl/protocol/durable.h"
#include "impl/protocol/files.h"

namespace holdfast::properties {
namespace {

Status list_below(port::Storage& storage, const std::string& directory, port::Deadline deadline, std::vector<std::string>& paths) {
  for (const port::DirectoryEntry& entry : TRY(storage.list(directory, deadline))) {
    const std::string path = protocol::join(directory, entry.name);
    if (entry.directory) {
      TRY(list_below(storage, path, deadline, paths));
    } else {
      paths.push_back(path);
    }
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> stored_files(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  std::vector<std::string> paths;
  TRY(list_below(storage, directory, deadline, paths));
  std::ranges::sort(paths);
  return paths;
}

Status flip_stored_bit(port::Storage& storage, const std::string& path, std::uint64_t bit, port::Deadline deadline) {
  const SharedBytes whole = TRY(protocol::read_file(storage, path, stored_file_bytes_max, deadline));
  Bytes changed = to_bytes(whole.view());
  CHECK(bit / 8 < changed.size(), "bit {} of \"{}\", which has {} bytes", bit, path, changed.size());
  changed[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
  TRY(storage.remove(path, deadline));
  const SharedBytes bytes(std::move(changed));
  const port::WritePiece piece{0, bytes.view(), bytes.owner()};
  TRY(protocol::write_new_file(storage, path, {&piece, 1}, deadline));
  return {};
}

}  // namespace holdfast::properties
