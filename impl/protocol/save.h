// save(): one checkpoint of the whole job, all of it or nothing. README.md of this folder numbers the steps.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "impl/core/failure.h"
#include "impl/core/key_map.h"
#include "impl/core/nested.h"
#include "impl/core/state_dict.h"
#include "impl/protocol/device_snapshot.h"
#include "impl/protocol/replica_verdict.h"
#include "impl/protocol/segment_writer.h"
#include "impl/protocol/session.h"

namespace holdfast::protocol {

struct SaveOptions {
  Step step;
  port::Duration deadline = std::chrono::minutes(2);  ///< of the whole save, from the call
  std::uint32_t block_bytes = format::default_block_bytes;
  plan::RetentionPolicy retention = {};
  /// Host memory that staging may take, from the session's pool; never more is held, and what is larger streams through it. None: for async_save enough for this
  /// rank's whole part, for save as much as keeps the storage busy.
  std::optional<std::uint64_t> staging_budget_bytes = {};
  /// A stream of the session's device (CudaDevice::view_stream) on which the trainer has enqueued the work that writes the tensors: they are read after what was
  /// enqueued before the call, of which the calling thread takes note as soon as it comes in. What is enqueued once the call has returned, of save or of async_save, needs to wait
  /// for nothing: by then nothing reads the tensors any more, and no event of ours need be waited for. What another thread enqueues meanwhile is in no order, nor is what is
  /// on other streams: a trainer that has several lets this one wait for them. Hooks of a planner or writer of the caller's own are called once that work is over.
  /// A stream that the device does not know, or that is capturing a graph, is an error of its rank in step "plan". None: the tensors already hold their values.
  std::optional<port::StreamId> after = {};
  /// Where async_save copies the tensors to. No effect on save(), which returns when all is durable anyway, nor with a writer of the caller's own.
  Snapshot snapshot = Snapshot::staging;
  /// Device memory that snapshots of this session may take, together with those of earlier saves that a device still reads. What does not fit is staged.
  std::uint64_t snapshot_bytes_max = std::numeric_limits<std::uint64_t>::max();
  KeyMap keys = {};                         ///< what the keys of `state` are called in the checkpoint
  std::optional<Structure> structure = {};  ///< of a state that flatten() made: stored, so that load_new() can give the tree back
  Replicas replicas = Replicas::trust;
  /// A save whose plan depends on nothing that has changed since an earlier save of this session uses that one's plan. No effect with a planner or writer of
  /// the caller's own, whose hooks all run.
  bool enable_plan_caching = true;
  std::shared_ptr<SavePlanner> planner = nullptr;   ///< null: DefaultSavePlanner
  std::shared_ptr<StorageWriter> writer = nullptr;  ///< null: SegmentWriter on the session's storage
};

struct Saved {
  std::string directory;  ///< of the attempt, "step-7.a1"; empty with a writer of the caller's own
  std::uint64_t sequence = 0;
  /// On every rank: rules of `keys` that renamed nothing, replicas that differ. On the coordinator: what could not be tidied up after the commit.
  std::vector<std::string> warnings;
  bool plan_was_cached = false;           ///< the same on every rank
  Snapshot snapshot = Snapshot::staging;  ///< where this rank's tensors were copied to, whatever was asked for
};

template <typename T>
using Checkpointed = tl::expected<T, CheckpointError>;

/// Saves `state`. Every rank of the session calls it, with equal options.
/// Returns: after the commit point, on every rank that could be told; the checkpoint is then durable.
/// Errors: the same on every rank: step "plan" or "write", and exactly the ranks that failed. Outcome failed promises that there is no new
/// checkpoint; unknown that only the storage can tell (recover). Nothing older is touched unless the new one is committed.
/// Nobody may write to the tensors until it has returned: what changes meanwhile may be a checkpoint whose blocks differ from their digests, which no load
/// accepts.
/// Blocks: until the outcome is known, hence also for the work on options.after; at most options.deadline. After that nothing reads the tensors, unless
/// Session::unfinished() says that a device has not let go of them: then they must stay allocated until it has.
/// If a save of this session is still pending, waits for it first; an error of it that nobody has waited for fails this one, on the rank that has it.
Checkpointed<Saved> save(Session& session, const StateDict& state, const SaveOptions& options);

}  // namespace holdfast::protocol
