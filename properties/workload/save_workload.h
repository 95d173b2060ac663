// The story every campaign tells: a job with a committed checkpoint saves a new one over it, under faults; then new processes recover, load, compare,
// and save once more.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "properties/gen/state_spec.h"
#include "sim/workload.h"

namespace holdfast::properties {

/// A storage on which a job saved `values`, without faults, and nothing is pending.
sim::Disk storage_with_checkpoint(const gen::StateSpec& spec, const gen::WholeValues& values, Rank coordinator,
                                  const protocol::SaveOptions& options);

struct SaveWorkloadOptions {
  std::string name = "save-over-existing";
  Rank coordinator;
  std::uint32_t block_bytes = 4096;
  port::Duration deadline = std::chrono::seconds(20);  ///< of each save and load, in virtual time
  bool async = false;                                  ///< by async_save; the trainer changes its tensors at once, then waits
  bool warm = false;       ///< the same session saves the old state again first: the plan of the new one's save is a cached one
  bool save_again = true;  ///< after recovery: a fault-free save must succeed and be loaded (L2), leaving no debris (L4)
  std::optional<gen::StateSpec> recovered_spec = {};  ///< the layout of the job after recovery; none: the same
  std::optional<gen::WholeValues> values = {};        ///< real values to save first, then changed ones (gen::changed); none: made by a rule
};

class SaveWorkload : public sim::Workload {
 public:
  SaveWorkload(gen::StateSpec spec, SaveWorkloadOptions options);

  std::string name() const override { return options_.name; }
  int world_size() const override { return spec_.world_size; }
  int recovery_world_size() const override { return recovered_spec_.world_size; }
  sim::Disk prepare() override;
  void begin() override;
  void act(const port::Env& env, Rank rank) override;
  void recover(const port::Env& env, Rank rank) override;
  bool noticed() const override;
  Verdict judge(const sim::Trace& act, const sim::Trace& recovery, const sim::Disk& disk) override;

  /// How the story ended on a rank: nothing when the rank was killed first.
  const std::vector<std::optional<protocol::Checkpointed<protocol::Saved>>>& saves() const { return saves_; }

 private:
  struct Recovery {
    std::string error;           ///< of recover or load
    std::string directory;       ///< loaded
    std::optional<int> version;  ///< 1 the old checkpoint, 2 the new one
    std::string difference;      ///< from what was saved there
    bool said_damaged = false;   ///< the load said that it skipped the new checkpoint
    std::string again;           ///< what went wrong in the save after recovery
  };
  void save_old_again(protocol::Session& session, Rank rank);
  std::string save_again(protocol::Session& session, Rank rank);
  protocol::Checkpointed<protocol::Saved> save_async(protocol::Session& session, Rank rank, const protocol::SaveOptions& options);
  bool is_late(const port::Env& env, port::TimePoint started) const;

  gen::StateSpec spec_;
  gen::StateSpec recovered_spec_;
  SaveWorkloadOptions options_;
  gen::WholeValues old_, new_, next_;
  std::vector<gen::RankState> states_;  ///< what the ranks save; unchanged by a case
  std::vector<std::optional<protocol::Checkpointed<protocol::Saved>>> saves_;
  std::vector<gen::RankState> warm_states_;   ///< by rank: the old state, which a warm story saves first
  std::vector<char> warm_;                    ///< by rank: and it was told that this is committed
  std::vector<gen::RankState> async_states_;  ///< by rank: what an asynchronous save was given
  std::vector<char> late_;                    ///< by rank: the save returned after its deadline
  std::vector<Recovery> recoveries_;
};

}  // namespace holdfast::properties
