// The storage reader that load uses: reads the blocks a rank needs from the segments of one attempt, each block once, and verifies every block
// before a byte of it is used.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "impl/format/manifest.h"
#include "impl/port/env.h"
#include "impl/protocol/segment_load.h"
#include "impl/protocol/shared_load.h"
#include "impl/protocol/storage_io.h"

namespace holdfast::protocol {

class SegmentReader : public StorageReader {
 public:
  SegmentReader(const port::Env& env, std::shared_ptr<StagingPool> pool, std::string directory, ReadingOptions reading = {})
      : env_(env), pool_(std::move(pool)), directory_(std::move(directory)), reading_(reading) {}

  Result<Metadata> read_metadata(const Role& role) override;
  Status set_up_storage_reader(const Metadata& metadata, const Role& role) override;
  Result<LoadPlan> prepare_local_plan(LoadPlan plan) override;
  Result<std::vector<LoadPlan>> prepare_global_plan(std::vector<LoadPlan> plans) override;
  /// Blocks until everything is read: the planner is called by the task that loads.
  Result<port::Future<void>> read_data(LoadPlan plan, std::shared_ptr<LoadPlanner> planner) override;

  /// On the coordinator: who reads what several ranks want, of the plans of all. Errors: as plan::share_reads; corrupt for a MANIFEST that lacks a segment.
  Result<plan::SharedReads> share(std::span<const LoadPlan> plans) const;
  /// Before read_data, which then reads this rank's share for others, too, and leaves the rest to exchange(). `session` outlives this.
  void take_part(Session& session, SharedPart part);
  bool shares() const { return session_ != nullptr; }
  /// After read_data, once every rank has: SharedLoad::run.
  Result<FailureMap> exchange(LoadPlanner& planner, port::Deadline deadline);
  /// SharedLoad::left_in_use.
  std::shared_ptr<const void> left_in_use() const { return shared_ ? shared_->left_in_use() : nullptr; }

  const Volume& volume() const { return volume_; }

 private:
  using Records = std::map<std::string_view, format::TensorRecord>;  ///< of the tensors of a plan, each taken from the manifest once
  Status read(LoadPlanner& planner);
  Status read_tensors(std::shared_ptr<const SegmentSources> sources, LoadPlanner& planner);
  Status read_values(LoadPlanner& planner);
  Status read_value(const ReadItem& item, LoadPlanner& planner);
  Result<SegmentSources::Want> locate(const ReadItem& item, std::uint32_t& segment);

  port::Env env_;
  std::shared_ptr<StagingPool> pool_;
  std::string directory_;
  ReadingOptions reading_;
  Role role_;
  std::optional<format::ManifestReader> manifest_;
  LoadPlan plan_;               ///< of this rank: what is read refers to it,
  Records records_;             ///< and to these
  Session* session_ = nullptr;  ///< of a rank that shares
  SharedPart part_;
  std::unique_ptr<SharedLoad> shared_;
  Volume volume_;
};

}  // namespace holdfast::protocol
