// Storage doubles of PyTorch's test_checkpoint.py: a writer and a reader that do nothing, and ones in which a hook fails on chosen ranks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "impl/protocol/storage_io.h"
#include "model/expected_failures.h"

namespace holdfast::properties {

/// The error that an injected fault gives: whose it is can be told from it.
Error injected_error(model::Hook hook, Rank rank);

/// Does no I/O and succeeds; remembers the order of the calls.
class IdleWriter : public protocol::StorageWriter {
 public:
  Status reset() override;
  Status set_up_storage_writer(const protocol::Role& role) override;
  Result<SavePlan> prepare_local_plan(SavePlan plan) override;
  Result<std::vector<SavePlan>> prepare_global_plan(std::vector<SavePlan> plans) override;
  Result<protocol::Writing> write_data(SavePlan plan, std::shared_ptr<protocol::SavePlanner> planner) override;
  Status finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) override;
  std::vector<std::string> calls;
};

/// Gives back `metadata`; reads nothing.
class IdleReader : public protocol::StorageReader {
 public:
  explicit IdleReader(Metadata metadata) : metadata_(std::move(metadata)) {}
  Status reset() override;
  Result<Metadata> read_metadata(const protocol::Role& role) override;
  Status set_up_storage_reader(const Metadata& metadata, const protocol::Role& role) override;
  Result<LoadPlan> prepare_local_plan(LoadPlan plan) override;
  Result<std::vector<LoadPlan>> prepare_global_plan(std::vector<LoadPlan> plans) override;
  Result<port::Future<void>> read_data(LoadPlan plan, std::shared_ptr<protocol::LoadPlanner> planner) override;
  std::vector<std::string> calls;

 private:
  Metadata metadata_;
};

/// What the faulty doubles of one rank do.
struct FaultyRank {
  Rank rank;
  std::vector<model::InjectedFault> faults;
  port::Tasks* tasks = nullptr;  ///< runs the tasks of the `_async` faults
  Status at(model::Hook hook) const;
};

class FaultyWriter : public protocol::StorageWriter {
 public:
  FaultyWriter(std::shared_ptr<protocol::StorageWriter> inner, FaultyRank fault) : inner_(std::move(inner)), fault_(std::move(fault)) {}
  Status reset() override { return inner_->reset(); }
  Status set_up_storage_writer(const protocol::Role& role) override;
  Result<SavePlan> prepare_local_plan(SavePlan plan) override;
  Result<std::vector<SavePlan>> prepare_global_plan(std::vector<SavePlan> plans) override;
  Result<protocol::Writing> write_data(SavePlan plan, std::shared_ptr<protocol::SavePlanner> planner) override;
  Status finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) override;

 private:
  std::shared_ptr<protocol::StorageWriter> inner_;
  FaultyRank fault_;
};

class FaultyReader : public protocol::StorageReader {
 public:
  FaultyReader(std::shared_ptr<protocol::StorageReader> inner, FaultyRank fault) : inner_(std::move(inner)), fault_(std::move(fault)) {}
  Status reset() override { return inner_->reset(); }
  Result<Metadata> read_metadata(const protocol::Role& role) override;
  Status set_up_storage_reader(const Metadata& metadata, const protocol::Role& role) override;
  Result<LoadPlan> prepare_local_plan(LoadPlan plan) override;
  Result<std::vector<LoadPlan>> prepare_global_plan(std::vector<LoadPlan> plans) override;
  Result<port::Future<void>> read_data(LoadPlan plan, std::shared_ptr<protocol::LoadPlanner> planner) override;

 private:
  std::shared_ptr<protocol::StorageReader> inner_;
  FaultyRank fault_;
};

}  // namespace holdfast::properties
