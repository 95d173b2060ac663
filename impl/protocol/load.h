// load(): brings a checkpoint into a state dict, whatever layout it was saved from. Every byte is verified before it is moved there.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "impl/core/failure.h"
#include "impl/core/key_map.h"
#include "impl/core/state_dict.h"
#include "impl/plan/load_plan.h"
#include "impl/protocol/key_report.h"
#include "impl/protocol/new_state.h"
#include "impl/protocol/save.h"
#include "impl/protocol/segment_reader.h"
#include "impl/protocol/session.h"

namespace holdfast::protocol {

struct LoadOptions {
  /// The attempt directory to load, with no fallback; none: the newest committed checkpoint that is intact.
  std::optional<std::string> directory = {};
  plan::LoadPlanOptions plan = {};
  KeyMap keys = {};                ///< what the keys of the destination are called in the checkpoint
  KeyFilter only = {};             ///< the keys that are loaded, by their names in the checkpoint; other entries stay as they are
  bool all_of_checkpoint = false;  ///< a selected key of the checkpoint for which no rank has a place is an error
  port::Duration deadline = std::chrono::minutes(2);  ///< of the whole load, from the call
  ReadingOptions reading = {};
  /// Of what several ranks want, one reads and verifies each byte and sends it to the others over the data plane. No effect with a planner or reader of the caller's own.
  bool share_reads = false;
  /// A stream of the session's device on which the trainer has enqueued work that still reads or writes the tensors: they are written after what was enqueued before the call
  /// (more of it: SaveOptions::after). What is enqueued once the call has returned finds them as they were loaded. A planner of the caller's own is called in place(), or
  /// to read in a streamed load, once that work is over.
  std::optional<port::StreamId> after = {};
  /// The session keeps so much of the staging memory for its next save or load; the rest is freed.
  std::uint64_t staging_keep_bytes = 64 << 20;
  std::shared_ptr<LoadPlanner> planner = nullptr;  ///< null: DefaultLoadPlanner
  /// Null: SegmentReader on the session's storage; else `directory`, `reading` and the fallback are the reader's business.
  std::shared_ptr<StorageReader> reader = nullptr;
};

struct Loaded {
  std::string directory;             ///< what was loaded, the same on every rank; empty with a reader of the caller's own
  std::vector<std::string> skipped;  ///< newer checkpoints that were damaged, newest first: what was wrong with each
  Volume volume;                     ///< of this rank
  KeyReport keys;                    ///< the same on every rank
};

/// Fills the tensors of `destination` and replaces its byte values. Every rank of the session calls it, with equal options.
/// A destination key that the checkpoint lacks is an error of its rank, and a key of `only` that no destination has one of the coordinator, unless
/// plan.strict is false: then both are told in Loaded::keys.
/// Errors: the same on every rank: step "choose", "plan", "read" or "place", and exactly the ranks that failed. The destination is as it was, unless the step
/// is "place", or the load is streamed and the step, or that of a damaged checkpoint before, is "read". A streamed load falls back only to a checkpoint that replaces all that a
/// damaged one may have left. No checkpoint at all is not_found; checkpoints of which none is intact are corrupt: different answers.
/// Blocks: for the work on options.after, too; at most options.deadline. After that nothing writes to the tensors, unless Session::unfinished() says that a device has not let go of
/// them: then they must stay allocated until it has.
Checkpointed<Loaded> load(Session& session, StateDict& destination, const LoadOptions& options);

struct NewlyLoaded {
  NewState made;
  Loaded loaded;
};
/// The same without a template: the state dict is made from what the checkpoint holds, on host memory of its own (new_state.h). Streamed, with
/// our own planner and reader: of a load that fails nothing is left in any case.
/// Errors: as load(); out_of_memory; invalid_argument when options.keys holds a rule.
Checkpointed<NewlyLoaded> load_new(Session& session, const NewStateOptions& made, const LoadOptions& options);

}  // namespace holdfast::protocol
