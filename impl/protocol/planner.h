// The planners' hooks, with PyTorch DCP's names and call order. A planner decides what is written and read; it does no I/O.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "impl/core/plan_values.h"
#include "impl/core/state_dict.h"
#include "impl/plan/save_plan.h"
#include "impl/port/env.h"

namespace holdfast::protocol {

/// Order of calls in a save, on each rank: set_up_planner, create_local_plan, [coordinator: create_global_plan], finish_plan, resolve_data.
/// An error of a hook, whatever its code, ends the save on every rank, naming this one. Hooks call no door and block for nothing.
class SavePlanner {
 public:
  virtual ~SavePlanner() = default;
  /// `state` outlives the save; `rank` is this process.
  virtual Status set_up_planner(const StateDict& state, Rank rank, bool is_coordinator) = 0;
  /// What this rank holds, replicas included.
  virtual Result<SavePlan> create_local_plan() = 0;
  /// One plan a rank comes in, one a rank must come out, in rank order.
  virtual Result<plan::GlobalSavePlan> create_global_plan(std::vector<SavePlan> local_plans) = 0;
  /// Gets this rank's items, those by rule among them, box by box (expand()).
  virtual Result<SavePlan> finish_plan(SavePlan plan) = 0;

  /// The memory of a tensor item, or the value of a byte item.
  using Data = std::variant<StridedBlock, ByteView>;
  /// May be called more than once for an item. What it gives must stay as long as the planner does, or as `state`'s tensors do.
  virtual Result<Data> resolve_data(const WriteItem& item) = 0;
};

/// Order of calls in a load, on each rank: set_up_planner, create_local_plan, [coordinator: create_global_plan], finish_plan, then for every item
/// load_tensor, or resolve_tensor and commit_tensor, or load_bytes; last place(), and in a streamed load also in between. Nothing of the destination
/// changes but in place(). Errors as of a SavePlanner; only place() may block.
class LoadPlanner {
 public:
  virtual ~LoadPlanner() = default;
  /// `destination` outlives the load.
  virtual Status set_up_planner(StateDict& destination, const Metadata& metadata, bool is_coordinator) = 0;
  /// What this rank needs of the chunks that `metadata` lists.
  virtual Result<LoadPlan> create_local_plan() = 0;
  /// One plan a rank comes in, one a rank must come out, in rank order.
  virtual Result<std::vector<LoadPlan>> create_global_plan(std::vector<LoadPlan> local_plans) = 0;
  /// Gets this rank's plan back.
  virtual Result<LoadPlan> finish_plan(LoadPlan plan) = 0;

  /// Host memory of item.lengths elements, to be filled by the storage reader.
  virtual Result<StridedBlock> resolve_tensor(const ReadItem& item) = 0;
  /// The memory of the item is filled with verified bytes.
  virtual Status commit_tensor(const ReadItem& item) = 0;

  /// A part of an item, verified, where it lies in host memory.
  struct Part {
    Dims offset;  ///< in the item
    StridedBlock memory;
  };
  /// For a reader that has the item's bytes in memory already: `parts` together are all of it, and `owner` keeps them. Saves a copy where it is
  /// overridden; here it copies to resolve_tensor()'s memory and commits.
  virtual Status load_tensor(const ReadItem& item, const std::vector<Part>& parts, std::shared_ptr<const void> owner);
  /// Whether load_tensor may be called several times for an item, each time with other parts of it, and place() between these calls: what a streamed
  /// load does. place() must then let go of every owner. No, unless a planner overrides all three.
  virtual bool takes_parts() const { return false; }
  /// The whole value of a byte item, verified.
  virtual Status load_bytes(const ReadItem& item, Bytes value) = 0;

  /// Moves what was read since the last call to the destination. Called once every rank has read everything, and in a streamed load also before. Blocks: at
  /// most until `deadline`.
  virtual Status place(const port::Env& env, port::Deadline deadline) = 0;
};

}  // namespace holdfast::protocol
