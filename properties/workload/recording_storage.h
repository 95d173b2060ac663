// A storage that says yes, keeps nothing and remembers what it was asked: for the order of calls, and for proofs of durability made by
// hand.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "impl/port/storage.h"
#include "impl/protocol/durable.h"

namespace holdfast::properties {

class RecordingStorage : public port::Storage {
 public:
  /// In order, as "sync step-1.a1/x": files by the path they were created with, links and renames as "link from to".
  const std::vector<std::string>& calls() const { return calls_; }
  /// From now on this call fails with `error`.
  void refuse(std::string call, Error error) { refused_[std::move(call)] = std::move(error); }

  port::Caps caps() const override { return {}; }
  Status make_directory(std::string_view path, port::Deadline deadline) override;
  Result<port::FileId> create(std::string_view path, port::Deadline deadline) override;
  /// not_found: it keeps nothing.
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
  Status record(std::string call);
  Status record(std::string_view op, port::FileId file);

  std::vector<std::string> calls_;
  std::vector<std::string> created_;  ///< by FileId
  std::map<std::string, Error> refused_;
};

/// The proof that files of these names are durable in `directory`, got from a RecordingStorage, that is from one that lies: for write
/// results by hand.
protocol::DurablePart durable_part(const std::string& directory, std::span<const std::string> names);

}  // namespace holdfast::properties
