// The storage's hooks, with PyTorch DCP's names and call order. A writer or reader does the I/O of one save or load; it decides nothing.
#pragma once

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

/// Order of calls in a save: reset, set_up_storage_writer, prepare_local_plan, [coordinator: prepare_global_plan], write_data,
/// [coordinator: finish]. After a failure of any rank in the plan round nobody writes; after one in the write round finish is not called.
class StorageWriter {
 public:
  virtual ~StorageWriter() = default;
  virtual Status reset() { return {}; }
  virtual Status set_up_storage_writer(const Role& role) = 0;
  virtual Result<SavePlan> prepare_local_plan(SavePlan plan) = 0;
  virtual Result<std::vector<SavePlan>> prepare_global_plan(std::vector<SavePlan> plans) = 0;
  /// Starts writing. What fails at once is returned; what fails later is in the future. `plan` and `planner` live until the future is read or its
  /// deadline passed: a task that may go on after that must own copies of what it uses.
  virtual Result<port::Future<std::vector<WriteResult>>> write_data(const SavePlan& plan, SavePlanner& planner) = 0;
  /// Makes the checkpoint valid: the commit point. Durable when it returns. results[r] are rank r's.
  /// Errors: unknown_outcome when it can no longer tell whether the commit record will survive; any other code promises that there is none.
  virtual Status finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) = 0;
};

/// Order of calls in a load: reset, read_metadata, set_up_storage_reader, prepare_local_plan, [coordinator: prepare_global_plan], read_data.
class StorageReader {
 public:
  virtual ~StorageReader() = default;
  virtual Status reset() { return {}; }
  /// Errors: corrupt when what is stored is damaged; not_found when there is no checkpoint.
  virtual Result<Metadata> read_metadata(const Role& role) = 0;
  virtual Status set_up_storage_reader(const Metadata& metadata, const Role& role) = 0;
  virtual Result<LoadPlan> prepare_local_plan(LoadPlan plan) = 0;
  virtual Result<std::vector<LoadPlan>> prepare_global_plan(std::vector<LoadPlan> plans) = 0;
  /// Starts reading into the planner's memory. `plan` and `planner` live as for write_data.
  virtual Result<port::Future<void>> read_data(const LoadPlan& plan, LoadPlanner& planner) = 0;
};

}  // namespace holdfast::protocol
