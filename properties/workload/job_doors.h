// Some neighbouring ranks of a run as a job of their own, which numbers them from 0 and hears nobody else. The storage is shared.
#pragma once

#include "impl/port/env.h"

namespace holdfast::properties {

/// The ranks [first, first + count) of a larger world.
struct JobRanks {
  int first = 0;
  int count = 0;
  bool holds(Rank rank_of_job) const { return rank_of_job.value >= 0 && rank_of_job.value < count; }
  Rank of_world(Rank rank_of_job) const { return {rank_of_job.value + first}; }
  Rank of_job(Rank rank_of_world) const { return {rank_of_world.value - first}; }
};

class JobNet final : public port::Net {
 public:
  JobNet(port::Net& world, JobRanks ranks) : world_(world), ranks_(ranks) {}
  Rank rank() const override { return ranks_.of_job(world_.rank()); }
  int world_size() const override { return ranks_.count; }
  Status send(Rank to, port::Tag tag, SharedBytes message, port::Deadline deadline) override;
  Result<SharedBytes> receive(Rank from, port::Tag tag, port::Deadline deadline) override;
  std::size_t max_message_bytes() const override { return world_.max_message_bytes(); }

 private:
  port::Net& world_;
  JobRanks ranks_;
};

class JobData final : public port::DataPlane {
 public:
  JobData(port::DataPlane& world, JobRanks ranks) : world_(world), ranks_(ranks) {}
  MemoryKind memory() const override { return world_.memory(); }
  Status exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline) override;
  void abort() override { world_.abort(); }

 private:
  port::DataPlane& world_;
  JobRanks ranks_;
};

/// The doors of one rank as its job sees them.
class JobDoors {
 public:
  JobDoors(const port::Env& world, JobRanks ranks)
      : net_(world.net, ranks), data_(world.data, ranks),
        env_{net_, data_, world.storage, world.device, world.clock, world.tasks, world.observer} {}
  JobDoors(const JobDoors&) = delete;
  JobDoors& operator=(const JobDoors&) = delete;
  const port::Env& env() const { return env_; }
  Rank rank() const { return net_.rank(); }

 private:
  JobNet net_;
  JobData data_;
  port::Env env_;
};

}  // namespace holdfast::properties
