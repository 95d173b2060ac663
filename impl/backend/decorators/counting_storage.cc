#include "impl/backend/decorators/counting_storage.h"

namespace holdfast::backend {
namespace {

template <typename Piece>
std::uint64_t total_bytes(std::span<const Piece> pieces) {
  std::uint64_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.bytes.size();
  return bytes;
}

}  // namespace

OpCount CountingStorage::count(StorageOp op) const {
  const std::scoped_lock lock(mutex_);
  return counts_[static_cast<std::size_t>(op)];
}

std::uint64_t CountingStorage::calls() const {
  const std::scoped_lock lock(mutex_);
  std::uint64_t calls = 0;
  for (const OpCount& count : counts_) calls += count.calls;
  return calls;
}

void CountingStorage::reset() {
  const std::scoped_lock lock(mutex_);
  counts_ = {};
}

template <typename T>
T CountingStorage::counted(StorageOp op, std::uint64_t bytes, T result) {
  const std::scoped_lock lock(mutex_);
  OpCount& count = counts_[static_cast<std::size_t>(op)];
  ++count.calls;
  if (result) {
    count.bytes += bytes;
  } else {
    ++count.failures;
  }
  return result;
}

Status CountingStorage::make_directory(std::string_view path, port::Deadline deadline) {
  return counted(StorageOp::make_directory, 0, inner_.make_directory(path, deadline));
}
Result<port::FileId> CountingStorage::create(std::string_view path, port::Deadline deadline) {
  return counted(StorageOp::create, 0, inner_.create(path, deadline));
}
Result<port::FileId> CountingStorage::open(std::string_view path, port::Deadline deadline) {
  return counted(StorageOp::open, 0, inner_.open(path, deadline));
}
Status CountingStorage::close(port::FileId file) { return counted(StorageOp::close, 0, inner_.close(file)); }
Status CountingStorage::write_all(port::FileId file, std::span<const port::WritePiece> pieces, port::Deadline deadline) {
  return counted(StorageOp::write_all, total_bytes(pieces), inner_.write_all(file, pieces, deadline));
}
Status CountingStorage::read_all(port::FileId file, std::span<const port::ReadPiece> pieces, port::Deadline deadline) {
  return counted(StorageOp::read_all, total_bytes(pieces), inner_.read_all(file, pieces, deadline));
}
Result<std::uint64_t> CountingStorage::size(port::FileId file, port::Deadline deadline) {
  return counted(StorageOp::size, 0, inner_.size(file, deadline));
}
Status CountingStorage::truncate(port::FileId file, std::uint64_t size, port::Deadline deadline) {
  return counted(StorageOp::truncate, 0, inner_.truncate(file, size, deadline));
}
Status CountingStorage::sync(port::FileId file, port::Deadline deadline) {
  return counted(StorageOp::sync, 0, inner_.sync(file, deadline));
}
Status CountingStorage::rename(std::string_view from, std::string_view to, port::Deadline deadline) {
  return counted(StorageOp::rename, 0, inner_.rename(from, to, deadline));
}
Status CountingStorage::link_if_absent(std::string_view from, std::string_view to, port::Deadline deadline) {
  return counted(StorageOp::link_if_absent, 0, inner_.link_if_absent(from, to, deadline));
}
Status CountingStorage::remove(std::string_view path, port::Deadline deadline) {
  return counted(StorageOp::remove, 0, inner_.remove(path, deadline));
}
Status CountingStorage::remove_directory(std::string_view path, port::Deadline deadline) {
  return counted(StorageOp::remove_directory, 0, inner_.remove_directory(path, deadline));
}
Result<std::vector<port::DirectoryEntry>> CountingStorage::list(std::string_view path, port::Deadline deadline) {
  return counted(StorageOp::list, 0, inner_.list(path, deadline));
}
Status CountingStorage::sync_directory(std::string_view path, port::Deadline deadline) {
  return counted(StorageOp::sync_directory, 0, inner_.sync_directory(path, deadline));
}

}  // namespace holdfast::backend
