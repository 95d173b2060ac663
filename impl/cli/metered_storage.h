// MeteredStorage: forwards every call, and tells the progress of long reads and writes as they go.
#pragma once

#include <memory>

#include "impl/cli/progress.h"
#include "impl/port/storage.h"

namespace holdfast::cli {

/// May be called from any thread. `progress` must outlive it. Bytes are counted as they are read or written, in parts of 16 MiB.
class MeteredStorage : public port::Storage {
 public:
  MeteredStorage(std::unique_ptr<port::Storage> inner, Progress& progress) : inner_(std::move(inner)), progress_(progress) {}

  port::Caps caps() const override { return inner_->caps(); }
  Status make_directory(std::string_view path, port::Deadline deadline) override { return inner_->make_directory(path, deadline); }
  Result<port::FileId> create(std::string_view path, port::Deadline deadline) override { return inner_->create(path, deadline); }
  Result<port::FileId> open(std::string_view path, port::Deadline deadline) override { return inner_->open(path, deadline); }
  Status close(port::FileId file) override { return inner_->close(file); }
  Status write_all(port::FileId file, std::span<const port::WritePiece> pieces, port::Deadline deadline) override;
  Status read_all(port::FileId file, std::span<const port::ReadPiece> pieces, port::Deadline deadline) override;
  Result<std::uint64_t> size(port::FileId file, port::Deadline deadline) override { return inner_->size(file, deadline); }
  Status truncate(port::FileId file, std::uint64_t size, port::Deadline deadline) override {
    return inner_->truncate(file, size, deadline);
  }
  Status sync(port::FileId file, port::Deadline deadline) override { return inner_->sync(file, deadline); }
  Status rename(std::string_view from, std::string_view to, port::Deadline deadline) override { return inner_->rename(from, to, deadline); }
  Status link_if_absent(std::string_view from, std::string_view to, port::Deadline deadline) override {
    return inner_->link_if_absent(from, to, deadline);
  }
  Status remove(std::string_view path, port::Deadline deadline) override { return inner_->remove(path, deadline); }
  Status remove_directory(std::string_view path, port::Deadline deadline) override { return inner_->remove_directory(path, deadline); }
  Result<std::vector<port::DirectoryEntry>> list(std::string_view path, port::Deadline deadline) override {
    return inner_->list(path, deadline);
  }
  Status sync_directory(std::string_view path, port::Deadline deadline) override { return inner_->sync_directory(path, deadline); }

 private:
  std::unique_ptr<port::Storage> inner_;
  Progress& progress_;
};

}  // namespace holdfast::cli
