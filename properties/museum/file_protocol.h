// A small model of a checkpoint that is a file a rank and one metadata file, written with the habits, good and bad, of public code.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/workload.h"

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

/// The story of every exhibit: two ranks with a committed checkpoint save the next one; then new processes load the newest. Judged by S1,
/// S2, S3 and judge_run.
class FileProtocol : public sim::Workload {
 public:
  FileProtocol(std::string name, const FileHabits& habits) : name_(std::move(name)), habits_(habits) {}

  std::string name() const override { return name_; }
  int world_size() const override { return 2; }
  sim::Disk prepare() override;
  void begin() override;
  void act(const port::Env& env, Rank rank) override;
  void recover(const port::Env& env, Rank rank) override;
  bool noticed() const override;
  Verdict judge(const sim::Trace& act, const sim::Trace& recovery, const sim::Disk& disk) override;

 private:
  struct Loaded {
    std::string error;
    std::optional<int> version;  ///< none: neither version's bytes
  };
  bool save(const port::Env& env, Rank rank, int version) const;  ///< true: reported as committed
  Status write_shard(const port::Env& env, Rank rank, int version, port::Deadline deadline) const;
  Status publish(const port::Env& env, int version, port::Deadline deadline) const;
  bool coordinate(const port::Env& env, Status own, int version, port::Deadline deadline) const;
  Result<std::string> newest(const port::Env& env, port::Deadline deadline) const;
  Result<std::optional<int>> load(const port::Env& env, Rank rank) const;
  std::string directory(int version) const;

  std::string name_;
  FileHabits habits_;
  std::vector<bool> committed_;
  std::vector<Loaded> loaded_;
};

}  // namespace holdfast::properties::museum
