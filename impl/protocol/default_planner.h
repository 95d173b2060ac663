// The planners that save and load use unless they are given others: every box once, the least loaded holder writes it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "impl/plan/load_plan.h"
#include "impl/plan/save_plan.h"
#include "impl/protocol/planner.h"
#include "impl/protocol/staging.h"

namespace holdfast::protocol {

class DefaultSavePlanner : public SavePlanner {
 public:
  explicit DefaultSavePlanner(plan::DedupPolicy dedup = plan::DedupPolicy::least_bytes) : dedup_(dedup) {}
  Status set_up_planner(const StateDict& state, Rank rank, bool is_coordinator) override;
  Result<SavePlan> create_local_plan() override;
  Result<plan::GlobalSavePlan> create_global_plan(std::vector<SavePlan> local_plans) override;
  Result<SavePlan> finish_plan(SavePlan plan) override;
  Result<Data> resolve_data(const WriteItem& item) override;

 private:
  plan::DedupPolicy dedup_;
  const StateDict* state_ = nullptr;
  Rank rank_;
};

/// Keeps what was read where the reader has it (or, after resolve_tensor, in memory of its own), and moves it to the destination in place(). A class derived from
/// it that needs items whole must say so in takes_parts().
class DefaultLoadPlanner : public LoadPlanner {
 public:
  static constexpr std::uint64_t place_alone_bytes = 64 << 20;
  /// Above `place_alone_bytes_max` a second task helps to move what was read to its place. The destination is written to after the trainer's work.
  explicit DefaultLoadPlanner(plan::LoadPlanOptions options = {}, std::uint64_t place_alone_bytes_max = place_alone_bytes,
                              TrainerWork after = {})
      : options_(options), place_alone_bytes_max_(place_alone_bytes_max), after_(std::move(after)) {}
  Status set_up_planner(StateDict& destination, const Metadata& metadata, bool is_coordinator) override;
  Result<LoadPlan> create_local_plan() override;
  Result<std::vector<LoadPlan>> create_global_plan(std::vector<LoadPlan> local_plans) override;
  Result<LoadPlan> finish_plan(LoadPlan plan) override;
  Result<StridedBlock> resolve_tensor(const ReadItem& item) override;
  Status commit_tensor(const ReadItem& item) override;
  Status load_tensor(const ReadItem& item, const std::vector<Part>& parts, std::shared_ptr<const void> owner) override;
  bool takes_parts() const override { return true; }
  Status load_bytes(const ReadItem& item, Bytes value) override;
  /// Copies everything to the destination; of device memory the digest is checked against that of what was read.
  Status place(const port::Env& env, port::Deadline deadline) override;

 private:
  /// Where an item goes.
  struct Target {
    const TensorEntry* entry = nullptr;
    const LocalShard* shard = nullptr;
  };
  Result<Target> target(const ReadItem& item) const;

  plan::LoadPlanOptions options_;
  std::uint64_t place_alone_bytes_max_;
  TrainerWork after_;
  StateDict* destination_ = nullptr;
  const Metadata* metadata_ = nullptr;
  std::vector<Upload> uploads_;
  std::vector<std::shared_ptr<const void>> owners_;                            ///< of their sources
  std::map<std::pair<MetadataIndex, Dims>, std::shared_ptr<Bytes>> resolved_;  ///< by destination: not yet committed
  std::map<std::string, Bytes> values_;
};

}  // namespace holdfast::protocol
