// CountingStorage: forwards every call and counts it.
#pragma once

#include <array>
#include <mutex>

#include "impl/backend/decorators/storage_op.h"
#include "impl/port/storage.h"

namespace holdfast::backend {

struct OpCount {
  std::uint64_t calls = 0;
  std::uint64_t failures = 0;  ///< calls that returned an error
  std::uint64_t bytes = 0;     ///< asked of write_all and read_all by calls that succeeded
  bool operator==(const OpCount&) const = default;
};

/// May be called from any thread. `inner` must outlive it.
class CountingStorage : public port::Storage {
 public:
  explicit CountingStorage(port::Storage& inner) : inner_(inner) {}

  OpCount count(StorageOp op) const;
  std::uint64_t calls() const;  ///< of every kind
  void reset();

  port::Caps caps() const override { return inner_.caps(); }
  Status make_directory(std::string_view path, port::Deadline deadline) override;
  Result<port::FileId> create(std::string_view path, port::Deadline deadline) override;
  Result<port::FileId> open(std::string_view path, port::Deadline deadline) override;
  Status close(port::FileId file) override;
  Status write_all(port::FileId file, std::span<const port::WritePiece> pieces, port::Deadline deadline) override;
  Status read_all(port::FileId file, std::span<const port::ReadPiece> pieces, port::Deadline deadline) override;
  Result<std::uint64_t> size(port::FileId file, port::Deadline deadline) override;
  Status truncate(port::FileId file, std::uint64_t size, port::Deadline deadline) override;
  Status sync(port::FileId file, port::Deadline deadline) override;
  Status rename(std::string_view from, std::string_view to, port::Deadline deadline) override;
  Status link_if_absent(std::string_view from, std::string_view to, port::Deadline deadline) override;
  Status remove(std::string_view path, port::Deadline deadline) override;
  Status remove_directory(std::string_view path, port::Deadline deadline) override;
  Result<std::vector<port::DirectoryEntry>> list(std::string_view path, port::Deadline deadline) override;
  Status sync_directory(std::string_view path, port::Deadline deadline) override;

 private:
  template <typename T>
  T counted(StorageOp op, std::uint64_t bytes, T result);

  port::Storage& inner_;
  mutable std::mutex mutex_;
  std::array<OpCount, storage_op_count> counts_;
};

}  // namespace holdfast::backend
