// transfer(): moves tensors from the memory of a job's ranks into other memory of its ranks, laid out in another way, and through no storage.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "impl/core/state_dict.h"
#include "impl/protocol/save.h"
#include "impl/protocol/session.h"

namespace holdfast::protocol {

struct TransferOptions {
  bool strict = true;          ///< a tensor of some rank's destination that no rank's source has is an error; else it is left as it is
  bool all_of_source = false;  ///< a tensor of some rank's source for which no rank has a place is an error
  port::Duration deadline = std::chrono::minutes(2);  ///< of the whole transfer, from the call
  /// A stream of the session's device (CudaDevice::view_stream) on which the trainer has enqueued work that writes the tensors of the source, or still uses those of
  /// the destination: they are read and written after what was enqueued before the call.
  std::optional<port::StreamId> after = {};
  /// Memory that bytes pass through on each rank: half for what is sent, half for what comes. What is more goes in several windows. At least 32. Where a data
  /// plane moves device memory and some tensors lie in host memory, as much of staging memory besides.
  std::uint64_t memory_budget_bytes = 64 << 20;
  /// The session keeps so much of its staging memory for its next call; the rest is freed.
  std::uint64_t staging_keep_bytes = 64 << 20;
};

struct Transferred {
  std::uint64_t windows = 0;                 ///< the same on every rank
  std::vector<std::string> missing = {};     ///< tensors that were left as they were, ascending; the same on every rank
  std::vector<std::string> unexpected = {};  ///< tensors of the source for which no rank has a place, ascending; the same on every rank
  std::uint64_t sent_bytes = 0;              ///< of this rank, to others
  std::uint64_t received_bytes = 0;          ///< of this rank, from others
  std::uint64_t copied_bytes = 0;            ///< within this rank's memory
};

/// Gives every element of the tensors of `to` the value that it has in `from`. Every rank of the session calls it, with equal options; a rank may hold
/// nothing, want nothing, or neither. Nothing is cast. Byte values of `from` stay where they are. Of ranks that hold the same box any one is taken at its word: they are not
/// compared. A box that `to` has where `from` has it is not touched.
/// Each piece has a digest taken where it was read and one taken where it was written, which must agree before anybody is told of success.
/// Errors: the same on every rank, and exactly the ranks that failed. Step "plan": no destination has changed; invalid_argument for what check and plan refuse
/// (impl/plan/transfer_offer.h, transfer_plan.h), and for a transfer that would move nothing. Step "move": every destination, of every rank, holds unspecified values;
/// corrupt where a piece was not written as it was read, on the rank that wrote it. Where a rank's own work failed, those for whom the exchange
/// failed in consequence are not named.
/// Blocks: for what options.after names, too; at most options.deadline. After that nothing uses the tensors, unless Session::unfinished() says that a device has not let go of them.
Checkpointed<Transferred> transfer(Session& session, const StateDict& from, const StateDict& to, const TransferOptions& options);

}  // namespace holdfast::protocol
