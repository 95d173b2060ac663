// The storage's hooks, with PyTorch DCP's names and call order. A writer or reader does the I/O of one save or load; it decides nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "impl/core/ids.h"
#include "impl/core/plan_values.h"
#include "impl/port/clock.h"
#include "impl/port/tasks.h"
#include "impl/protocol/planner.h"

namespace holdfast::protocol {

/// What a writer or reader is told of the operation it serves.
struct Role {
  Rank rank;
  int world_size = 1;
  bool is_coordinator = false;
  port::Deadline work;    ///< local work (everything but the coordinator's global hooks) must be over
  port::Deadline reduce;  ///< the coordinator's global hooks must be over
};

/// Writing under way. A task that goes on after a deadline passed, or after this was dropped, owns all that it uses.
struct Writing {
  port::Future<void> staged;  ///< nothing of the caller's tensors is read any more; fails when the writing failed before that
  port::Future<std::vector<WriteResult>> written;  ///< everything is durable, and staged
  /// May be empty. Nobody waits for `written` any more: what is under way ends early, and lets go of its memory. Any task may call it; it waits for nothing.
  std::function<void()> give_up = {};
};

/// Order of calls in a save: reset, set_up_storage_writer, prepare_local_plan, [coordinator: prepare_global_plan], write_data,
/// [coordinator: finish]. After a failure of any rank in the plan round nobody writes; after one in the write round finish is not called.
/// An error of a hook ends the save on every rank, naming this one. Hooks may block until the deadline of their Role.
class StorageWriter {
 public:
  virtual ~StorageWriter() = default;
  /// Forgets the operation before.
  virtual Status reset() { return {}; }
  virtual Status set_up_storage_writer(const Role& role) = 0;
  /// May add storage_data to what this rank plans to write; the items are the planner's.
  virtual Result<SavePlan> prepare_local_plan(SavePlan plan) = 0;
  /// The same for all ranks, in rank order, on the coordinator.
  virtual Result<std::vector<SavePlan>> prepare_global_plan(std::vector<SavePlan> plans) = 0;
  /// Starts writing; Role::work is the deadline. Asks the planner for the data of every item before it returns: of the state dict only the memory of
  /// tensors is used after that, until `staged`. The planner may own such memory, so a task keeps it until then.
  /// What fails at once is returned; what fails later is in the futures.
  virtual Result<Writing> write_data(SavePlan plan, std::shared_ptr<SavePlanner> planner) = 0;
  /// Makes the checkpoint valid: the commit point. Durable when it returns. results[r] are rank r's.
  /// Errors: unknown_outcome when it can no longer tell whether the commit record will survive; any other code promises that there is none.
  virtual Status finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) = 0;
  /// The digest of the chunk that `result` of `rank` tells of, taken from the tensor's own memory. None from a writer that takes none: replicas then cannot
  /// be compared with what was written. Errors: corrupt when the result is not one of this writer.
  virtual Result<std::optional<TensorDigest>> written_digest(const WriteResult& /*result*/, Rank /*rank*/) const {
    return std::optional<TensorDigest>();
  }
};

/// Order of calls in a load: reset, read_metadata, set_up_storage_reader, prepare_local_plan, [coordinator: prepare_global_plan], read_data.
/// Errors and blocking as of a StorageWriter.
class StorageReader {
 public:
  virtual ~StorageReader() = default;
  /// Forgets the operation before.
  virtual Status reset() { return {}; }
  /// On every rank: what the checkpoint holds. Errors: corrupt when what is stored is damaged; not_found when there is no checkpoint.
  virtual Result<Metadata> read_metadata(const Role& role) = 0;
  virtual Status set_up_storage_reader(const Metadata& metadata, const Role& role) = 0;
  virtual Result<LoadPlan> prepare_local_plan(LoadPlan plan) = 0;
  virtual Result<std::vector<LoadPlan>> prepare_global_plan(std::vector<LoadPlan> plans) = 0;
  /// Starts reading into the planner's memory; Role::work is the deadline. A task that goes on after it owns all that it uses: it may keep the planner,
  /// but after the deadline must not call it, whose destination may be gone.
  virtual Result<port::Future<void>> read_data(LoadPlan plan, std::shared_ptr<LoadPlanner> planner) = 0;
};

}  // namespace holdfast::protocol
