// The Disk as a rank sees it: handles, deadlines, faults.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "impl/port/storage.h"
#include "sim/kernel.h"

namespace holdfast::sim {

class Storage final : public port::Storage {
 public:
  Storage(Kernel& kernel, Disk& disk, RankState& rank) : kernel_(kernel), disk_(disk), rank_(rank) {}

  port::Caps caps() const override { return {}; }
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
  struct Handle {
    Disk::Node node;
    std::string path;
    bool writable = false;
    bool open = false;
  };
  struct Opening;
  port::FileId add_handle(Disk::Node node, std::string_view path, bool writable);
  void drop_handle(port::FileId file);
  Handle* find(port::FileId file);
  Result<Disk::Node> node(port::FileId file, bool to_write);
  std::string_view path(port::FileId file);

  Kernel& kernel_;
  Disk& disk_;
  RankState& rank_;
  std::deque<Handle> handles_;  // a path stays where it is while a call on it sleeps
};

}  // namespace holdfast::sim
