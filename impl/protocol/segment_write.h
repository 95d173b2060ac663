// What one rank writes of a save: its boxes as segments, its byte values as files, durably. Runs in a task and owns all that it uses but the
// tensors' memory, which it lets go when they are staged.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "impl/port/env.h"
#include "impl/protocol/segment_result.h"
#include "impl/protocol/staging_pool.h"
#include "impl/protocol/storage_io.h"

namespace holdfast::protocol {

class SegmentWrite {
 public:
  SegmentWrite(const port::Env& env, std::shared_ptr<StagingPool> pool) : env_(env), pool_(std::move(pool)) {}

  Rank rank;
  std::string directory;  ///< of the attempt, and the generation of its segments
  std::uint32_t block_bytes = 0;
  std::optional<std::uint64_t> staging_budget_bytes = {};
  port::Deadline deadline;

  /// Asks the planner for the memory of every tensor item, and copies the byte values. Errors: the planner's; invalid_argument when what it gives does
  /// not fit the item.
  Status take(const SavePlan& plan, std::shared_ptr<SavePlanner> planner);
  /// 3 snapshot and 4 write. `staged` is told when the tensors are not read any more; the results come when everything is durable.
  Result<std::vector<WriteResult>> run(port::Promise<void>& staged);

 private:
  struct Tensor {
    WriteItem item;
    StridedBlock memory;
  };
  struct Value {
    WriteItem item;
    SharedBytes bytes;
  };
  struct Segment;

  Status stage(Segment& segment);
  Status write(Segment& segment, std::vector<WriteResult>& results);
  Status write_value(const Value& value, std::size_t number, std::vector<WriteResult>& results);

  port::Env env_;
  std::shared_ptr<StagingPool> pool_;
  std::shared_ptr<SavePlanner> planner_;      ///< may own the memory of tensors
  std::vector<std::vector<Tensor>> tensors_;  ///< by segment
  std::vector<Value> values_;
};

}  // namespace holdfast::protocol
