// What one rank does in a transfer once there is a plan: packs, exchanges and unpacks, window by window, with a digest at each end of every piece.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "impl/core/digest.h"
#include "impl/core/failure.h"
#include "impl/core/state_dict.h"
#include "impl/plan/transfer_plan.h"
#include "impl/protocol/session.h"
#include "impl/protocol/trainer_work.h"

namespace holdfast::protocol {

/// What a rank reports of its moves.
struct MoveReport {
  FailureMap exchange;                 ///< this rank and what the data plane said, if it failed: perhaps a consequence of another's failure
  std::vector<TensorDigest> sent;      ///< of the moves of which this rank is the source, in the plan's order: taken from the tensors
  std::vector<TensorDigest> received;  ///< of those of which it is the destination: taken from the tensors after they were written
  bool operator==(const MoveReport&) const = default;
};
void encode(Encoder& out, const MoveReport& report);
Result<MoveReport> decode_move_report(Decoder& in);

/// Holds the memory that bytes pass through, of the kind that the data plane moves; where it moves device memory and some tensors lie on the host, as much of staging
/// memory besides.
class Mover {
 public:
  /// Allocates at most twice window_bytes of each; touches tensors after the trainer's work. `from` and `to` must outlive the mover. Blocks only where staging memory of an earlier call is still in use.
  /// Errors: the device's; timeout.
  static Result<std::unique_ptr<Mover>> open(Session& session, const StateDict& from, const StateDict& to, std::uint64_t window_bytes,
                                             const TrainerWork& after, port::Deadline deadline);
  ~Mover();
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  /// Does this rank's moves; window w is the session's exchange number first_exchange + w. After a failure of its own a rank goes on to exchange, bytes that
  /// nobody will believe, so that no other waits for it in vain. Called once. Blocks at most until the deadline.
  /// Errors: of this rank's own work: corrupt for a plan that does not fit its tensors; the device's; timeout.
  Result<MoveReport> run(const plan::TransferPlan& part, std::uint64_t first_exchange, port::Deadline deadline);
  /// Memory that a data plane may still use: one that moves device memory may need longer than the deadline to let go of it after an exchange that failed.
  /// Else null.
  std::shared_ptr<const void> left_in_use() const;

 private:
  struct Memory;  // shared with the device's work
  struct Place;   // of a move: in this rank's tensors, and in the memory that bytes pass through
  struct Window;

  Mover(Session& session, const StateDict& from, const StateDict& to, std::shared_ptr<Memory> memory, port::StreamId stream)
      : session_(session), from_(from), to_(to), memory_(std::move(memory)), stream_(stream) {}
  Result<std::vector<Place>> resolve(const plan::TransferPlan& part) const;
  Status lay_out(Window& window) const;
  Status pack(const Window& window, port::Deadline deadline);
  Status unpack(const Window& window, port::Deadline deadline);

  Session& session_;
  const StateDict& from_;
  const StateDict& to_;
  std::shared_ptr<Memory> memory_;
  port::StreamId stream_;
  bool in_doubt_ = false;  ///< an exchange of device memory has failed
};

}  // namespace holdfast::protocol
