// FaultyStorage: forwards every call, but fails the ones it was told to fail.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "impl/backend/decorators/storage_op.h"
#include "impl/port/storage.h"

namespace holdfast::backend {

enum class FaultMoment : std::uint8_t {
  before,  ///< nothing happened, and the call says so. A close gives its handle back all the same, as close(2) does
  after,   ///< it happened, and the call says that it did not. A file it opened is closed again
};
enum class FaultSpan : std::uint8_t { once, from_then_on };

struct StorageFault {
  StorageOp op;
  std::uint64_t nth;  ///< the call of this op that fails, counted from 1
  Error error;
  FaultMoment moment = FaultMoment::before;
  FaultSpan span = FaultSpan::once;
};

/// May be called from any thread. `inner` must outlive it. Of several faults that fit a call the one planted first fires.
class FaultyStorage : public port::Storage {
 public:
  explicit FaultyStorage(port::Storage& inner) : inner_(inner) {}

  void plant(StorageFault fault);
  std::uint64_t calls(StorageOp op) const;
  /// Calls that were failed.
  std::uint64_t fired() const;

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
  const StorageFault* next_fault(StorageOp op);
  template <typename Call>
  auto forward(StorageOp op, Call call) -> decltype(call());

  port::Storage& inner_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<const StorageFault>> faults_;
  std::array<std::uint64_t, storage_op_count> calls_{};
  std::uint64_t fired_ = 0;
};

}  // namespace holdfast::backend
