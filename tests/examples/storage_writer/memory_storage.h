// A storage of one's own behind Holdfast's save and load: here a store in memory, where an object store's client might be.
#pragma once

#include <holdfast/holdfast.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace example {

using namespace holdfast;

/// Shared by the ranks of the process. A checkpoint is there once it is committed, as a whole.
class Store {
 public:
  void put(const std::string& key, Bytes value);
  /// Errors: not_found; corrupt when the bytes are not those that were put.
  Result<Bytes> get(const std::string& key) const;
  void commit(Metadata metadata);
  std::optional<Metadata> committed() const;
  void damage(const std::string& key);  ///< flips a bit
  std::vector<std::string> keys() const;

 private:
  struct Blob {
    Bytes bytes;
    BlockDigest digest;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Blob> blobs_;
  std::optional<Metadata> committed_;
};

/// Decides nothing about what is written: the planner does. Each item becomes a blob.
class MemoryWriter : public protocol::StorageWriter {
 public:
  explicit MemoryWriter(Store& store) : store_(store) {}
  Status set_up_storage_writer(const protocol::Role&) override { return {}; }
  Result<SavePlan> prepare_local_plan(SavePlan plan) override { return plan; }
  Result<std::vector<SavePlan>> prepare_global_plan(std::vector<SavePlan> plans) override { return plans; }
  /// Has written everything when it returns; one that goes on in a task gives futures of it.
  Result<protocol::Writing> write_data(SavePlan plan, std::shared_ptr<protocol::SavePlanner> planner) override;
  /// On the coordinator, once every rank has written: the commit point.
  Status finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) override;

 private:
  Store& store_;
};

class MemoryReader : public protocol::StorageReader {
 public:
  explicit MemoryReader(const Store& store) : store_(store) {}
  Result<Metadata> read_metadata(const protocol::Role& role) override;
  Status set_up_storage_reader(const Metadata& metadata, const protocol::Role& role) override;
  Result<LoadPlan> prepare_local_plan(LoadPlan plan) override { return plan; }
  Result<std::vector<LoadPlan>> prepare_global_plan(std::vector<LoadPlan> plans) override { return plans; }
  Result<port::Future<void>> read_data(LoadPlan plan, std::shared_ptr<protocol::LoadPlanner> planner) override;

 private:
  Status read(const ReadItem& item, protocol::LoadPlanner& planner) const;

  const Store& store_;
  Metadata metadata_;
};

}  // namespace example
