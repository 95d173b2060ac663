// A storage that notes which bytes of which file a rank reads.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "impl/port/storage.h"

namespace holdfast::properties {

struct FileRead {
  std::string path;
  std::uint64_t offset = 0, bytes = 0;
};

/// May be called from any thread. `inner` must outlive it.
class ReadRecorder final : public port::Storage {
 public:
  explicit ReadRecorder(port::Storage& inner) : inner_(inner) {}
  /// Those that succeeded.
  std::vector<FileRead> reads() const {
    const std::scoped_lock lock(mutex_);
    return reads_;
  }

  port::Caps caps() const override { return inner_.caps(); }
  Status make_directory(std::string_view path, port::Deadline deadline) override { return inner_.make_directory(path, deadline); }
  Result<port::FileId> create(std::string_view path, port::Deadline deadline) override { return inner_.create(path, deadline); }
  Result<port::FileId> open(std::string_view path, port::Deadline deadline) override {
    const port::FileId file = TRY(inner_.open(path, deadline));
    const std::scoped_lock lock(mutex_);
    paths_[file] = path;
    return file;
  }
  Status close(port::FileId file) override { return inner_.close(file); }
  Status write_all(port::FileId file, std::span<const port::WritePiece> pieces, port::Deadline deadline) override {
    return inner_.write_all(file, pieces, deadline);
  }
  Status read_all(port::FileId file, std::span<const port::ReadPiece> pieces, port::Deadline deadline) override {
    TRY(inner_.read_all(file, pieces, deadline));
    const std::scoped_lock lock(mutex_);
    for (const port::ReadPiece& piece : pieces) reads_.push_back({paths_[file], piece.offset, piece.bytes.size()});
    return {};
  }
  Result<std::uint64_t> size(port::FileId file, port::Deadline deadline) override { return inner_.size(file, deadline); }
  Status truncate(port::FileId file, std::uint64_t size, port::Deadline deadline) override { return inner_.truncate(file, size, deadline); }
  Status sync(port::FileId file, port::Deadline deadline) override { return inner_.sync(file, deadline); }
  Status rename(std::string_view from, std::string_view to, port::Deadline deadline) override { return inner_.rename(from, to, deadline); }
  Status link_if_absent(std::string_view from, std::string_view to, port::Deadline deadline) override {
    return inner_.link_if_absent(from, to, deadline);
  }
  Status remove(std::string_view path, port::Deadline deadline) override { return inner_.remove(path, deadline); }
  Status remove_directory(std::string_view path, port::Deadline deadline) override { return inner_.remove_directory(path, deadline); }
  Result<std::vector<port::DirectoryEntry>> list(std::string_view path, port::Deadline deadline) override {
    return inner_.list(path, deadline);
  }
  Status sync_directory(std::string_view path, port::Deadline deadline) override { return inner_.sync_directory(path, deadline); }

 private:
  port::Storage& inner_;
  mutable std::mutex mutex_;
  std::map<port::FileId, std::string> paths_;
  std::vector<FileRead> reads_;
};

}  // namespace holdfast::properties
