#include "sim/storage.h"

#include <algorithm>

namespace holdfast::sim {

using port::Deadline;
using port::FileId;

struct Storage::Opening {
  Storage& storage;
  bool is_new;

  Result<FileId> operator()(std::string_view path, std::string_view) {
    const Disk::Node node = TRY(is_new ? storage.disk_.create(path) : storage.disk_.open(path));
    return storage.add_handle(node, path, is_new);
  }
  void discard(FileId file) { storage.drop_handle(file); }
};

namespace {

struct Write {
  Disk& disk;
  Disk::Node node;
  port::WritePiece piece;

  Status operator()(std::string_view, std::string_view) {
    disk.write(node, piece.offset, piece.bytes);
    return {};
  }
  void flip(std::uint64_t bit) { disk.flip_bit(node, piece.offset * 8 + bit); }
};

struct Read {
  Disk& disk;
  Disk::Node node;
  port::ReadPiece piece;

  Status operator()(std::string_view path, std::string_view) {
    Status read = disk.read(node, piece.offset, piece.bytes);
    if (!read) return fail(within(std::move(read).error(), "\"{}\"", path));
    return {};
  }
  void flip(std::uint64_t bit) { piece.bytes[bit / 8] ^= std::byte(1u << (bit % 8)); }
};

struct Sync {
  Disk& disk;
  Disk::Node node;

  Status operator()(std::string_view, std::string_view) {
    disk.sync(node);
    return {};
  }
  void refused() { disk.drop_unsynced(node); }
};

}  // namespace

FileId Storage::add_handle(Disk::Node node, std::string_view path, bool writable) {
  ++rank_.leak.files_open;
  handles_.push_back({node, std::string(path), writable, true});
  return {static_cast<std::int64_t>(handles_.size() - 1)};
}

void Storage::drop_handle(FileId file) {
  find(file)->open = false;
  --rank_.leak.files_open;
}

Storage::Handle* Storage::find(FileId file) {
  const bool known = file.value >= 0 && static_cast<std::size_t>(file.value) < handles_.size();
  Handle* handle = known ? &handles_[static_cast<std::size_t>(file.value)] : nullptr;
  return handle && handle->open ? handle : nullptr;
}

Result<Disk::Node> Storage::node(FileId file, bool to_write) {
  const tsan::Inside inside;
  const Handle* handle = find(file);
  if (!handle) return fail(ErrorCode::invalid_argument, "file handle {} is not open", file.value);
  if (to_write && !handle->writable) return fail(ErrorCode::invalid_argument, "\"{}\" is open for reading", handle->path);
  return handle->node;
}

std::string_view Storage::path(FileId file) {
  const tsan::Inside inside;
  return find(file)->path;
}

Status Storage::make_directory(std::string_view path, Deadline deadline) {
  return kernel_.call(rank_, {.op = Op::storage_make_directory, .object = path}, deadline,
                      [this](std::string_view at, std::string_view) { return disk_.make_directory(at); });
}

Result<FileId> Storage::create(std::string_view path, Deadline deadline) {
  return kernel_.call(rank_, {.op = Op::storage_create, .object = path}, deadline, Opening{*this, true});
}

Result<FileId> Storage::open(std::string_view path, Deadline deadline) {
  return kernel_.call(rank_, {.op = Op::storage_open, .object = path}, deadline, Opening{*this, false});
}

Status Storage::close(FileId file) {
  TRY(node(file, false));
  const std::string_view name = path(file);
  const auto effect = [this, file](std::string_view, std::string_view) -> Status {
    if (find(file)) drop_handle(file);
    return {};
  };
  Status closed = kernel_.call(rank_, {.op = Op::storage_close, .object = name}, {}, effect);
  const tsan::Inside inside;
  if (find(file)) drop_handle(file);  // as with close(2), the handle is gone whatever the answer
  return closed;
}

Status Storage::write_all(FileId file, std::span<const port::WritePiece> pieces, Deadline deadline) {
  const Disk::Node at = TRY(node(file, true));
  const std::string_view name = path(file);
  for (const port::WritePiece& piece : pieces) {
    tsan::reads(piece.bytes.data(), piece.bytes.size());
    const CallInfo info{.op = Op::storage_write, .object = name, .bytes = piece.bytes.size(), .number = piece.offset};
    TRY(kernel_.call(rank_, info, deadline, Write{disk_, at, piece}));
  }
  return {};
}

Status Storage::read_all(FileId file, std::span<const port::ReadPiece> pieces, Deadline deadline) {
  const Disk::Node at = TRY(node(file, false));
  const std::string_view name = path(file);
  for (const port::ReadPiece& piece : pieces) {
    const CallInfo info{.op = Op::storage_read, .object = name, .bytes = piece.bytes.size(), .number = piece.offset};
    TRY(kernel_.call(rank_, info, deadline, Read{disk_, at, piece}));
    tsan::writes(piece.bytes.data(), piece.bytes.size());
  }
  return {};
}

Result<std::uint64_t> Storage::size(FileId file, Deadline deadline) {
  const Disk::Node at = TRY(node(file, false));
  const std::string_view name = path(file);
  return kernel_.call(rank_, {.op = Op::storage_size, .object = name}, deadline,
                      [this, at](std::string_view, std::string_view) -> Result<std::uint64_t> { return disk_.size(at); });
}

Status Storage::truncate(FileId file, std::uint64_t size, Deadline deadline) {
  const Disk::Node at = TRY(node(file, true));
  const std::string_view name = path(file);
  return kernel_.call(rank_, {.op = Op::storage_truncate, .object = name, .number = size}, deadline,
                      [this, at, size](std::string_view, std::string_view) -> Status {
                        disk_.truncate(at, size);
                        return {};
                      });
}

Status Storage::sync(FileId file, Deadline deadline) {
  const Disk::Node at = TRY(node(file, false));
  const std::string_view name = path(file);
  return kernel_.call(rank_, {.op = Op::storage_sync, .object = name}, deadline, Sync{disk_, at});
}

Status Storage::rename(std::string_view from, std::string_view to, Deadline deadline) {
  return kernel_.call(rank_, {.op = Op::storage_rename, .object = from, .other = to}, deadline,
                      [this](std::string_view source, std::string_view target) { return disk_.rename(source, target); });
}

Status Storage::link_if_absent(std::string_view from, std::string_view to, Deadline deadline) {
  return kernel_.call(rank_, {.op = Op::storage_link, .object = from, .other = to}, deadline,
                      [this](std::string_view source, std::string_view target) { return disk_.link_if_absent(source, target); });
}

Status Storage::remove(std::string_view path, Deadline deadline) {
  return kernel_.call(rank_, {.op = Op::storage_remove, .object = path}, deadline,
                      [this](std::string_view at, std::string_view) { return disk_.remove(at); });
}

Status Storage::remove_directory(std::string_view path, Deadline deadline) {
  return kernel_.call(rank_, {.op = Op::storage_remove_directory, .object = path}, deadline,
                      [this](std::string_view at, std::string_view) { return disk_.remove_directory(at); });
}

Result<std::vector<port::DirectoryEntry>> Storage::list(std::string_view path, Deadline deadline) {
  const auto effect = [this](std::string_view at, std::string_view) -> Result<std::vector<port::DirectoryEntry>> {
    std::vector<port::DirectoryEntry> entries = TRY(disk_.list(at));
    if (kernel_.scenario().random_latency && entries.size() > 1) {  // the order of a directory means nothing: begin anywhere, go either way
      const auto n = static_cast<std::uint32_t>(entries.size());
      const std::uint32_t pick = kernel_.decisions().pick(DecisionKind::list_order, 2 * n);
      std::rotate(entries.begin(), entries.begin() + pick % n, entries.end());
      if (pick >= n) std::reverse(entries.begin(), entries.end());
    }
    return entries;
  };
  return kernel_.call(rank_, {.op = Op::storage_list, .object = path}, deadline, effect);
}

Status Storage::sync_directory(std::string_view path, Deadline deadline) {
  return kernel_.call(rank_, {.op = Op::storage_sync_directory, .object = path}, deadline,
                      [this](std::string_view at, std::string_view) { return disk_.sync_directory(at); });
}

}  // namespace holdfast::sim
