// Two coordinators alive: a job stops in the middle of a save, a new one starts on the same storage, recovers, loads and saves, and somewhere
// in between the old one goes on as if nothing had happened. Then a third job looks at what is left.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "properties/gen/state_spec.h"
#include "sim/workload.h"

namespace holdfast::properties {

struct TwoJobsOptions {
  gen::StateSpec old_job, new_job;  ///< the same tensors and values; ranks 0 to n - 1 of a run are the old job, the next ones the new job
  Rank old_coordinator, new_coordinator;
  Step new_step{200};  ///< of the new job's first save; the old job saves step 200, the checkpoint before is of step 100
  std::size_t keep_last = 2;
  std::uint32_t block_bytes = 4096;
  port::Duration deadline = std::chrono::seconds(20);
  port::Duration pause{};  ///< the new job waits so long before it begins: beyond the deadline, the old one is late when it goes on
};

class TwoJobs : public sim::Workload {
 public:
  explicit TwoJobs(TwoJobsOptions options);

  std::string name() const override { return "two-jobs"; }
  int world_size() const override { return options_.old_job.world_size + options_.new_job.world_size; }
  int recovery_world_size() const override { return options_.new_job.world_size; }
  sim::Disk prepare() override;
  void begin() override;
  void act(const port::Env& env, Rank rank) override;
  void recover(const port::Env& env, Rank rank) override;
  bool noticed() const override;
  Verdict judge(const sim::Trace& act, const sim::Trace& recovery, const sim::Disk& disk) override;

  /// The old rank `stopped` stops before its door call `at` and goes on when rank `witness` of the new job is about to make its call `until`.
  /// The new job begins when the old rank stops.
  std::vector<sim::Stop> stops(Rank stopped, std::uint32_t at, Rank witness, std::uint32_t until) const;

 private:
  enum class Version : std::uint8_t { before, old_jobs, new_first, new_second, last };  ///< in the order of values_
  struct Held {
    std::string directory;
    std::optional<Version> version;  ///< whose values were found; none: nobody's
    std::string what;                ///< an error, or in what the values differ
  };
  using Saves = std::vector<std::optional<protocol::Checkpointed<protocol::Saved>>>;

  void save_as_old_job(const port::Env& env, Rank rank);
  void live_as_new_job(const port::Env& env, Rank rank);
  protocol::Checkpointed<protocol::Saved> save(protocol::Session& session, const gen::StateSpec& spec, Rank rank, Version version);
  Held load(protocol::Session& session, Rank rank, std::optional<std::string> directory) const;
  Step step_of(Version version) const;
  const protocol::Saved* acknowledged(const Saves& saves) const;
  void judge_held(const Held& held, std::string_view where, Verdict& verdict) const;
  void judge_end(const sim::Disk& disk, Verdict& verdict) const;

  TwoJobsOptions options_;
  std::vector<std::unique_ptr<gen::RankState>> kept_states_;
  std::vector<gen::WholeValues> values_;  ///< by version
  Saves old_saves_, first_saves_, second_saves_;
  std::vector<std::vector<Held>> new_loads_;  ///< by rank of the new job
  std::vector<Held> last_loads_, kept_;       ///< by rank of the third job: the newest, and the new job's last acknowledged one
  std::vector<std::string> last_errors_;
};

}  // namespace holdfast::properties
