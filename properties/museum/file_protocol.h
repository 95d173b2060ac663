// A small model of a checkpoint that is a file a rank and one metadata file, written with the habits, good and bad, of public code.
#pragma once

#include <string>

#include "sim/save_routine.h"

namespace holdfast::properties::museum {

enum class MetadataWrite {
  synced_then_renamed,      ///< written to a temporary file, synced, renamed
  synced_before_its_bytes,  ///< the sync comes while the bytes are still in the program's buffer
  in_place,                 ///< under its final name from the start, never synced
};

/// The defaults are right.
struct FileHabits {
  bool overwrites_in_place = false;  ///< one directory for every save, its shards truncated; else a directory a save
  MetadataWrite metadata = MetadataWrite::synced_then_renamed;
  bool deletes_committed_first = false;  ///< removes the old metadata before the new one gets its name
  bool syncs_data = true;
  bool syncs_directories = true;
  bool tells_failures = true;  ///< a rank whose write failed says so; else it only says that it is done
};

/// The routine of every exhibit: two ranks with a shard each, and a metadata file that rank 0 writes once all have told it that they are done.
class FileProtocol : public sim::SaveRoutine {
 public:
  FileProtocol(std::string name, const FileHabits& habits) : name_(std::move(name)), habits_(habits) {}

  std::string name() const override { return name_; }
  int world_size() const override { return 2; }
  /// Success: committed, as far as this rank knows.
  Status save(const port::Env& env, Rank rank, Step step, ByteView state) const override;
  /// From the last directory that holds metadata.
  Result<Bytes> load(const port::Env& env, Rank rank) const override;

 private:
  Status write_shard(const port::Env& env, Rank rank, Step step, ByteView state, port::Deadline deadline) const;
  Status publish(const port::Env& env, Step step, port::Deadline deadline) const;
  Status coordinate(const port::Env& env, Status own, Step step, port::Deadline deadline) const;
  Result<std::string> newest(const port::Env& env, port::Deadline deadline) const;
  std::string directory(Step step) const;
  Bytes metadata_bytes() const;

  std::string name_;
  FileHabits habits_;
};

}  // namespace holdfast::properties::museum
