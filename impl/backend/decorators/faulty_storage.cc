#include "impl/backend/decorators/faulty_storage.h"

#include <type_traits>

namespace holdfast::backend {

void FaultyStorage::plant(StorageFault fault) {
  const std::scoped_lock lock(mutex_);
  faults_.push_back(std::make_unique<const StorageFault>(std::move(fault)));
}

std::uint64_t FaultyStorage::calls(StorageOp op) const {
  const std::scoped_lock lock(mutex_);
  return calls_[static_cast<std::size_t>(op)];
}

std::uint64_t FaultyStorage::fired() const {
  const std::scoped_lock lock(mutex_);
  return fired_;
}

/// Counts the call; null when it is to succeed.
const StorageFault* FaultyStorage::next_fault(StorageOp op) {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t call = ++calls_[static_cast<std::size_t>(op)];
  for (const auto& fault : faults_) {
    if (fault->op != op || call < fault->nth || (call > fault->nth && fault->span == FaultSpan::once)) continue;
    ++fired_;
    return fault.get();
  }
  return nullptr;
}

template <typename Call>
auto FaultyStorage::forward(StorageOp op, Call call) -> decltype(call()) {
  const StorageFault* const fault = next_fault(op);
  if (!fault) return call();
  if (fault->moment == FaultMoment::after || op == StorageOp::close) {
    const auto hidden = call();
    if constexpr (std::is_same_v<decltype(call()), Result<port::FileId>>) {
      if (hidden) static_cast<void>(inner_.close(*hidden));
    }
  }
  return fail(fault->error);
}

Status FaultyStorage::make_directory(std::string_view path, port::Deadline deadline) {
  return forward(StorageOp::make_directory, [&] { return inner_.make_directory(path, deadline); });
}
Result<port::FileId> FaultyStorage::create(std::string_view path, port::Deadline deadline) {
  return forward(StorageOp::create, [&] { return inner_.create(path, deadline); });
}
Result<port::FileId> FaultyStorage::open(std::string_view path, port::Deadline deadline) {
  return forward(StorageOp::open, [&] { return inner_.open(path, deadline); });
}
Status FaultyStorage::close(port::FileId file) {
  return forward(StorageOp::close, [&] { return inner_.close(file); });
}
Status FaultyStorage::write_all(port::FileId file, std::span<const port::WritePiece> pieces, port::Deadline deadline) {
  return forward(StorageOp::write_all, [&] { return inner_.write_all(file, pieces, deadline); });
}
Status FaultyStorage::read_all(port::FileId file, std::span<const port::ReadPiece> pieces, port::Deadline deadline) {
  return forward(StorageOp::read_all, [&] { return inner_.read_all(file, pieces, deadline); });
}
Result<std::uint64_t> FaultyStorage::size(port::FileId file, port::Deadline deadline) {
  return forward(StorageOp::size, [&] { return inner_.size(file, deadline); });
}
Status FaultyStorage::truncate(port::FileId file, std::uint64_t size, port::Deadline deadline) {
  return forward(StorageOp::truncate, [&] { return inner_.truncate(file, size, deadline); });
}
Status FaultyStorage::sync(port::FileId file, port::Deadline deadline) {
  return forward(StorageOp::sync, [&] { return inner_.sync(file, deadline); });
}
Status FaultyStorage::rename(std::string_view from, std::string_view to, port::Deadline deadline) {
  return forward(StorageOp::rename, [&] { return inner_.rename(from, to, deadline); });
}
Status FaultyStorage::link_if_absent(std::string_view from, std::string_view to, port::Deadline deadline) {
  return forward(StorageOp::link_if_absent, [&] { return inner_.link_if_absent(from, to, deadline); });
}
Status FaultyStorage::remove(std::string_view path, port::Deadline deadline) {
  return forward(StorageOp::remove, [&] { return inner_.remove(path, deadline); });
}
Status FaultyStorage::remove_directory(std::string_view path, port::Deadline deadline) {
  return forward(StorageOp::remove_directory, [&] { return inner_.remove_directory(path, deadline); });
}
Result<std::vector<port::DirectoryEntry>> FaultyStorage::list(std::string_view path, port::Deadline deadline) {
  return forward(StorageOp::list, [&] { return inner_.list(path, deadline); });
}
Status FaultyStorage::sync_directory(std::string_view path, port::Deadline deadline) {
  return forward(StorageOp::sync_directory, [&] { return inner_.sync_directory(path, deadline); });
}

}  // namespace holdfast::backend
