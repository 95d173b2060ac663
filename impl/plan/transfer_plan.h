// Who sends which box of which tensor to whom in a transfer, and when. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "impl/core/failure.h"
#include "impl/core/ids.h"
#include "impl/plan/transfer_offer.h"

namespace holdfast::plan {

struct Move {
  std::uint32_t tensor = 0;  ///< number in TransferPlan::tensors
  Rank source, destination;  ///< the same rank: within its memory
  std::uint32_t source_shard = 0, destination_shard = 0;
  Box box;  ///< of the whole tensor; inside both shards
  std::uint64_t bytes = 0;
  std::uint64_t window = 0;
  bool operator==(const Move&) const = default;
};

struct TransferPlan {
  std::vector<std::string> tensors;  ///< ascending
  std::vector<Move> moves;           ///< by window, then source, then destination
  std::uint64_t windows = 0;
  bool operator==(const TransferPlan&) const = default;
};

struct TransferPlanOptions {
  /// What a rank sends in one window takes at most so much room (room_bytes), and so does what it receives, or moves within its memory.
  /// Requires: a multiple of room_unit, not 0.
  std::uint64_t window_bytes = 32 << 20;
  bool strict = true;          ///< a wanted tensor that no rank holds is an error; else it is left as it is
  bool all_of_source = false;  ///< a held tensor that no rank wants is an error
};

/// Pieces lie in a window one after the other, each at a multiple of room_unit, which no element passes.
constexpr std::uint64_t room_unit = 16;
constexpr std::uint64_t room_bytes(std::uint64_t bytes) { return (bytes + room_unit - 1) / room_unit * room_unit; }

struct TransferDecision {
  FailureMap
      failures;       ///< not empty: there is no plan; invalid_argument, every problem told to the ranks whose request or boxes it concerns
  TransferPlan plan;  ///< without a move when every wanted box is in place or empty
  std::vector<std::string> missing;     ///< wanted tensors that no rank holds, ascending
  std::vector<std::string> unexpected;  ///< held tensors that no rank wants, ascending
};

/// The coordinator's plan, of the offers of all ranks in rank order. Of ranks that hold the same box one sends it: the destination itself if it is one of
/// them, else the one that has least to send, of equals the lowest; boxes of one tensor that are not equal must be disjoint. Larger boxes are cut to fit a window.
/// Every element of a wanted box that is not in place is moved exactly once. No box is compared with all boxes: time goes with what is found, and with replicas.
TransferDecision global_transfer_plan(std::span<const TransferOffer> offers, const TransferPlanOptions& options);

/// Whether a plan does what the offers ask: every element of every wanted box once, from a shard that holds it, in windows that fit. Requires: the tensors
/// of the offers agree. Errors: invalid_argument with the problems.
Status check_transfer_plan(const TransferPlan& plan, std::span<const TransferOffer> offers, std::uint64_t window_bytes);

/// What each of `ranks` ranks has to do with: its moves, and the tensors that these name.
std::vector<TransferPlan> parts_of(const TransferPlan& plan, std::size_t ranks);

}  // namespace holdfast::plan
