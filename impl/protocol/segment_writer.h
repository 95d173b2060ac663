// The storage writer that save uses: segments and byte-value files in an attempt directory of their own, a MANIFEST as commit record.
// Numbered steps: README.md of this folder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "impl/format/segment.h"
#include "impl/plan/retention.h"
#include "impl/port/env.h"
#include "impl/protocol/device_snapshot.h"
#include "impl/protocol/segment_result.h"
#include "impl/protocol/staging_pool.h"
#include "impl/protocol/storage_io.h"
#include "impl/protocol/trainer_work.h"

namespace holdfast::protocol {

struct SegmentWriterOptions {
  Step step;
  std::uint32_t block_bytes = format::default_block_bytes;
  plan::RetentionPolicy retention = {};
  std::optional<plan::AttemptId> last_verified = {};       ///< never retired
  std::optional<std::uint64_t> staging_budget_bytes = {};  ///< none: enough for the rank's whole part
  std::optional<std::uint64_t> snapshot_bytes_max = {};    ///< of device memory; none: no snapshot there
  TrainerWork after = {};                                  ///< before the tensors are read
};

class SegmentWriter : public StorageWriter {
 public:
  SegmentWriter(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentWriterOptions options)
      : env_(env), pool_(std::move(pool)), options_(options) {}

  Status set_up_storage_writer(const Role& role) override;
  Result<SavePlan> prepare_local_plan(SavePlan plan) override;
  /// 1 identify: makes the attempt directory, exclusively and durably, and puts the ticket into every plan.
  Result<std::vector<SavePlan>> prepare_global_plan(std::vector<SavePlan> plans) override;
  /// 3 snapshot and 4 write, in a task that outlives this object if it must.
  Result<Writing> write_data(SavePlan plan, std::shared_ptr<SavePlanner> planner) override;
  /// 6 publish, then 8 retire. What retiring cannot do is a warning: the checkpoint is committed.
  Status finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) override;
  Result<std::optional<TensorDigest>> written_digest(const WriteResult& result, Rank rank) const override;

  const AttemptTicket& ticket() const { return ticket_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  /// Once what was to be written is staged.
  Snapshot snapshot() const { return *snapshot_; }

 private:
  Status check_alone();
  void warn(const Status& status);

  port::Env env_;
  std::shared_ptr<StagingPool> pool_;
  SegmentWriterOptions options_;
  Role role_;
  AttemptTicket ticket_;
  plan::AttemptId attempt_;
  std::vector<std::string> warnings_;
  std::shared_ptr<Snapshot> snapshot_ = std::make_shared<Snapshot>(Snapshot::staging);  ///< shared with the task that writes
};

}  // namespace holdfast::protocol
