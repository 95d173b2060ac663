// Checkpoints: a folder of checkpoints, as one rank of a job sees it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "impl/api/job.h"
#include "impl/format/manifest.h"
#include "impl/protocol/load.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/recover.h"
#include "impl/protocol/save.h"
#include "impl/protocol/survey.h"
#include "impl/protocol/transfer.h"
#include "impl/protocol/verify.h"

namespace holdfast {

using protocol::Checkpointed;
using protocol::Loaded;
using protocol::LoadMode;
using protocol::LoadOptions;
using protocol::NewlyLoaded;
using protocol::NewStateOptions;
using protocol::PendingSave;
using protocol::ReadingOptions;
using protocol::Recovered;
using protocol::RecoverOptions;
using protocol::Replicas;
using protocol::Saved;
using protocol::SaveOptions;
using protocol::Snapshot;
using protocol::Survey;
using protocol::TransferOptions;
using protocol::Transferred;
using protocol::VerifyProgress;
using protocol::VerifyReport;

/// One Error for what a save, load or transfer says of all ranks: corrupt when damage is all there was, unknown_outcome when only the storage can
/// tell whether there is a new checkpoint, else the code of the lowest failed rank.
Error to_error(const CheckpointError& error);

/// One chunk of a stored tensor: row-major bytes of its box.
struct ChunkPlace {
  Box box;
  std::string file;               ///< relative to the folder
  std::uint64_t file_offset = 0;  ///< bytes
  std::uint64_t bytes = 0;
};

/// Used by one thread at a time.
class Checkpoints {
 public:
  /// Opens `folder` on the file system; makes it, parents included, when it is absent. Every rank may open it at the same time.
  /// Errors: io_error, also when `folder` is a file. Durable: the folder's name. `job` must outlive the result.
  static Result<std::unique_ptr<Checkpoints>> open(Job& job, const std::string& folder);
  /// On a storage of the caller's own; several ranks of one process may share it. `observer`, if any, is told of the steps of each save. Both and
  /// `job` must outlive the result.
  Checkpoints(Job& job, std::shared_ptr<port::Storage> storage, port::Observer* observer = nullptr);

  // Called by every rank of the job, with equal options; each rank gets the same outcome. In full: impl/protocol/save.h, load.h, recover.h.
  /// Returns after the commit point: the checkpoint is durable. Blocks: at most options.deadline.
  Checkpointed<Saved> save(const StateDict& state, const SaveOptions& options);
  /// Returns once the values of `state` are safe: the trainer may change, move or free them while the save goes on. The outcome, the same on every rank,
  /// comes from PendingSave::wait; an error that nobody waited for fails the next call. In full: impl/protocol/pending_save.h.
  /// Blocks: for staging, or for a snapshot in device memory, at most options.deadline.
  Checkpointed<PendingSave> async_save(const StateDict& state, const SaveOptions& options);
  /// The newest committed and intact checkpoint, whatever layout it was saved from. Blocks: at most options.deadline.
  Checkpointed<Loaded> load(StateDict& destination, const LoadOptions& options = {});
  /// The same without a template: makes a state dict with host memory of its own, of whole tensors or as `made.layout` says. Blocks: as load().
  Checkpointed<NewlyLoaded> load_new(const NewStateOptions& made = {}, const LoadOptions& options = {});
  /// Moves tensors from the memory of ranks to other memory of ranks, in whatever layout the two are, through no storage: weights that one mesh trained, to the mesh
  /// that serves them. After an error of step "move" destinations hold unspecified values. In full: impl/protocol/transfer.h. Blocks: at most options.deadline.
  Checkpointed<Transferred> transfer(const StateDict& from, const StateDict& to, const TransferOptions& options = {});
  /// Clears away what a crash left. Ends every save of the job that has not committed yet. Requires: no save of this object is running; on a storage
  /// without link_if_absent, none anywhere. Blocks: at most options.deadline.
  Checkpointed<Recovered> recover(const RecoverOptions& options = {});

  /// What a save or load gave up at its deadline and may still use its tensors: while it is not empty, they must not be freed. Empty but for a device that
  /// did not end its work by then.
  port::Unfinished& unfinished() { return session_.unfinished(); }

  // Called by any one rank; changes nothing. Blocks: call_deadline a storage call.
  /// Every attempt: committed ones newest first, damaged, uncommitted. Empty when the folder is.
  Result<Survey> list();
  /// Directory of the newest committed checkpoint. Errors: not_found when there is none; corrupt when the commit record of each is damaged.
  Result<std::string> latest();
  /// What the commit record in `directory` says. Errors: not_found; corrupt, unsupported when it cannot be read.
  Result<format::Manifest> manifest(const std::string& directory);
  /// Where each chunk of a tensor lies, in the order of the chunks; `manifest` is the one in `directory`. Reads the header of each segment that
  /// holds one. Errors: not_found for a tensor that is not there; corrupt.
  Result<std::vector<ChunkPlace>> places(const std::string& directory, const format::Manifest& manifest, const std::string& tensor);
  /// Reads and compares every byte of one attempt. Damage is a finding; not_found when it was never committed.
  Result<VerifyReport> verify(const std::string& directory, const VerifyProgress& progress = {});
  /// The same for every committed checkpoint, the hint `latest` and the mark `given-up`. not_found when there is none.
  Result<VerifyReport> verify_all(const VerifyProgress& progress = {});

  static constexpr port::Duration call_deadline = std::chrono::minutes(2);

 private:
  port::Deadline soon() { return job_.clock().after(call_deadline); }

  Job& job_;
  std::shared_ptr<port::Storage> storage_;
  protocol::Session session_;
};

}  // namespace holdfast
