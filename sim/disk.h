// The simulated storage: a tree of files and directories, what of it is durable, and what a crash may still take away. A value: copies are
// independent and cheap (files and directories are shared until one side changes them). It outlives the run that wrote it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/error.h"
#include "impl/port/storage.h"
#include "sim/decisions.h"

namespace holdfast::sim {

/// Which un-synced operations a crash may take, and in what order. FAULTS.md has the exact rules.
enum class PersistenceModel : std::uint8_t {
  strict,        ///< a prefix of all operations, cut at 4 KiB, never shorter than the last sync of anything
  ext4_ordered,  ///< entries in order, at least as far as the last sync; a file's growth in order; replace-by-rename carries the data
  weak,          ///< any subset of entry operations and of 4 KiB blocks of file writes: only sync and sync_directory bind
  nfs,           ///< names are stored before the call that makes them returns; of unsynced bytes any blocks
  object,        ///< a file is an object that its sync uploads: unsynced, it is there whole or, if never synced, not at all; names at once
};
inline constexpr std::size_t persistence_models = 5;
const char* to_string(PersistenceModel model);

class Disk {
 public:
  Disk();

  /// A file or directory, whatever its names. Valid until the Disk settles or crashes.
  struct Node {
    std::uint32_t value = 0;
    bool operator==(const Node&) const = default;
  };

  // The operations of port::Storage, at once and without faults.
  Status make_directory(std::string_view path);
  Result<Node> create(std::string_view path);
  Result<Node> open(std::string_view path) const;
  void write(Node file, std::uint64_t offset, ByteView bytes);
  Status read(Node file, std::uint64_t offset, ByteSpan bytes) const;
  std::uint64_t size(Node file) const;
  void truncate(Node file, std::uint64_t size);
  void sync(Node file);
  Status rename(std::string_view from, std::string_view to);
  Status link_if_absent(std::string_view from, std::string_view to);
  Status remove(std::string_view path);
  Status remove_directory(std::string_view path);
  Result<std::vector<port::DirectoryEntry>> list(std::string_view path) const;
  Status sync_directory(std::string_view path);

  /// A failed sync (fsync-gate): the pages become clean, so reads still see them and no later sync stores them.
  void drop_unsynced(Node file);
  /// Flips a stored bit of an open file: bit 8 * offset + i is bit i of the byte at `offset`.
  void flip_bit(Node file, std::uint64_t bit);

  // What a crash leaves.
  /// Un-synced operations: entry operations and 4 KiB blocks of file writes.
  std::size_t pending_operations() const;
  /// Power is lost: a legal subset, chosen by `decisions`, becomes durable; the rest never was.
  void crash(PersistenceModel model, Decisions& decisions);
  /// An orderly end: everything becomes durable but what a failed sync dropped.
  void settle();
  /// Every legal crash state when pending_operations() <= max (at most 20); otherwise all, none, each prefix, each single loss, and entries
  /// without data and data without entries. Distinct by hash().
  std::vector<Disk> crash_states(PersistenceModel model, std::size_t max) const;

  // For tests and judges; what they write is durable.
  Result<Bytes> read_file(std::string_view path) const;
  void write_file(std::string_view path, ByteView bytes);  ///< makes the directories and replaces the file
  Status flip_bit(std::string_view path, std::uint64_t bit);
  std::vector<std::string> paths() const;  ///< of all files, sorted
  std::uint64_t hash() const;              ///< of all names and contents that a reader sees; not of what is durable

 private:
  struct Content;
  struct FileOperation;
  struct File;
  struct EntryOperation;
  struct Directory;
  struct Inode;
  struct Place;  // a directory and a name in it
  struct Unit;   // one thing a crash may take

  File& file(Node node);
  const File& file(Node node) const;
  Directory& directory(std::uint32_t inode);
  const Directory& directory(std::uint32_t inode) const;
  Inode& own(std::uint32_t inode);
  bool is_directory(std::uint32_t inode) const;
  Result<std::uint32_t> find(std::string_view path) const;
  Result<Place> place(std::string_view path) const;
  std::uint32_t add_inode(bool is_directory);
  void add_entry(const Place& place, std::uint32_t inode);
  void remove_entry(const Place& place, std::uint32_t inode);
  void drop_unreachable();
  template <typename Visit>
  void visit_files(std::uint32_t inode, std::string& path, Visit&& visit) const;

  std::vector<Unit> units() const;
  static void make_legal(PersistenceModel model, const std::vector<Unit>& units, std::vector<bool>& survives);
  static void make_strict(const std::vector<Unit>& units, std::vector<bool>& survives);
  static void make_ext4_ordered(const std::vector<Unit>& units, std::vector<bool>& survives);
  static void make_object(const std::vector<Unit>& units, std::vector<bool>& survives);
  Disk after_crash(const std::vector<Unit>& units, const std::vector<bool>& survives) const;

  std::vector<std::shared_ptr<Inode>> inodes_;  // 0 is the root; null: free
  std::vector<std::uint32_t> free_;
  std::uint64_t sequence_ = 0;   // of the last operation
  std::uint64_t committed_ = 0;  // sequence_ at the last sync of anything: what a journal has committed
};

}  // namespace holdfast::sim
