// What save, load and recover share: turning the answer of a round into the error that every rank returns.
#pragma once

#include <string>

#include "impl/comm/comm.h"
#include "impl/core/failure.h"
#include "impl/protocol/session.h"
#include "impl/protocol/storage_io.h"

namespace holdfast::protocol {

/// `undecided`: what a rank may say that never heard the coordinator's decision in this round.
inline CheckpointError to_error(std::string step, comm::RoundFailure failure, Outcome undecided) {
  Outcome outcome = failure.known ? Outcome::failed : undecided;
  for (const FailureMap::Group& group : failure.failures.groups()) {
    if (group.error.code == ErrorCode::unknown_outcome) outcome = Outcome::unknown;
  }
  return {std::move(step), outcome, std::move(failure.failures), std::move(failure.lost)};
}

inline Role role_of(const comm::Comm& comm, const comm::Timetable& times) {
  return {comm.rank(), comm.world_size(), comm.is_coordinator(), times.work(), times.reduce()};
}

/// An answer that is only "yes".
inline Result<comm::Answer> nothing_to_say() { return comm::Answer{}; }

}  // namespace holdfast::protocol
