// What becomes of a save whose replicas were compared. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "impl/core/encoding.h"
#include "impl/core/failure.h"
#include "impl/plan/replicas.h"

namespace holdfast::protocol {

/// What a save makes of replicas: boxes that several ranks hold, and one of them writes.
enum class Replicas : std::uint8_t {
  trust,   ///< they are taken to be equal
  warn,    ///< they are compared by digest, taken where they lie; a difference is a warning
  refuse,  ///< likewise; a difference fails the save, on the ranks that differ from more than half of the holders, or on all holders
};

/// The coordinator's answer to the round of the write results.
struct ReplicaVerdict {
  FailureMap failures;  ///< not empty: nothing was committed
  std::vector<std::string> warnings;
  bool operator==(const ReplicaVerdict&) const = default;
};
void encode(Encoder& out, const ReplicaVerdict& verdict);
Result<ReplicaVerdict> decode_replica_verdict(Decoder& in);

/// Differences as warnings, or as failures (corrupt) of the ranks that they name: each rank hears of its own boxes. Every difference is counted, the
/// first twenty of a rank are told.
ReplicaVerdict judge_replicas(const std::vector<plan::ReplicaDifference>& differences, Replicas replicas);

}  // namespace holdfast::protocol
