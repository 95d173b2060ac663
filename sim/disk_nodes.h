// How a Disk keeps its files and directories. For disk.cc and disk_crash.cc only.
#pragma once

#include <map>

#include "sim/disk.h"

namespace holdfast::sim {

inline constexpr std::uint64_t block_bytes = 4096;  // written whole or not at all

struct Disk::Content {
  Bytes bytes;
  mutable std::uint64_t digest = 0;
  mutable bool digested = false;
};

/// A write or truncation that no sync has covered.
struct Disk::FileOperation {
  std::uint64_t sequence = 0;
  bool truncation = false;
  std::uint64_t offset = 0;  // of a truncation: the new size
  std::uint64_t size = 0;
  std::shared_ptr<const Bytes> bytes;  // null: as File::current has them; kept apart only when something overwrites them
};

struct Disk::File {
  std::shared_ptr<Content> current;  // null is empty
  std::shared_ptr<Content> durable;
  std::vector<FileOperation> pending;
  bool dropped = false;  // a failed sync dropped operations: current is more than durable + pending

  static ByteView view(const std::shared_ptr<Content>& content) { return content ? ByteView(content->bytes) : ByteView(); }
  static Bytes& own(std::shared_ptr<Content>& content);
  static void apply(Bytes& bytes, std::uint64_t offset, ByteView written);
  ByteView bytes_of(const FileOperation& operation) const;
  /// Something is about to change current[begin, end): pending writes whose bytes lie there take a copy.
  void keep_pending(std::uint64_t begin, std::uint64_t end);
  void make_pending_durable();
};

struct Disk::EntryOperation {
  enum class Kind : std::uint8_t { add, remove, rename };
  std::uint64_t sequence = 0;
  Kind kind = Kind::add;
  std::uint32_t directory = 0;
  std::uint32_t to_directory = 0;  // of a rename; else as directory
  std::uint32_t inode = 0;
  bool replaced = false;  // a rename that replaced an entry
  std::string name;
  std::string to_name;
};

struct Disk::Directory {
  using Entries = std::map<std::string, std::uint32_t, std::less<>>;
  Entries current;
  Entries durable;
  std::vector<EntryOperation> pending;  // a rename across directories is in both lists until both are synced
};

struct Disk::Inode {
  bool is_directory = false;
  File file;
  Directory directory;
};

struct Disk::Place {
  std::uint32_t directory = 0;
  std::string_view name;
};

struct Disk::Unit {
  std::uint64_t sequence = 0;
  std::uint32_t inode = 0;  // the file written, or the inode whose entry changes
  bool entry = false;
  bool in_order = false;  // of a file: a growth or truncation, which ext4 keeps in order
  bool committed = false;
  const EntryOperation* entry_operation = nullptr;
  const FileOperation* file_operation = nullptr;
  std::uint64_t begin = 0;  // block of a write, in file offsets
  std::uint64_t end = 0;
  bool never_synced = false;  // of a file: nothing of it is durable
};

}  // namespace holdfast::sim
