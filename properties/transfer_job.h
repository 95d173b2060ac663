// A transfer of a whole job in some world, from the drawn layouts of the saving job to those of the loading one, over the ranks of both.
#pragma once

#include <optional>
#include <string>

#include "impl/protocol/transfer.h"
#include "properties/gen/drawn_case.h"
#include "properties/on_ranks.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

/// Which rank of the job plays which part.
struct TransferJob {
  gen::StateSpec from, to;  ///< the same tensors, but for some that only one of them has; no byte values in `to`
  int ranks = 1;
  int shift = 0;          ///< the first rank of the job that has a destination
  bool mirrored = false;  ///< the ranks of the destination go downwards, from the job's last
  Rank coordinator;
  std::uint64_t budget_bytes = 64 << 20;
  std::uint64_t seed = 0;
  std::vector<std::string> missing = {}, unexpected = {};

  std::optional<Rank> source_of(Rank rank) const;       ///< its rank in `from`, if it holds something
  std::optional<Rank> destination_of(Rank rank) const;  ///< its rank in `to`
  gen::RankState source(Rank rank, const gen::WholeValues& values) const;
  gen::RankState destination(Rank rank) const;  ///< poisoned
  std::uint64_t wanted_bytes(Rank rank) const;  ///< what a rank's destination takes, of tensors that are not missing
  std::uint64_t wanted_bytes() const;           ///< of all ranks
  /// What differs from the values, or from poison in tensors that are missing; nothing if all is as it should be.
  Wrong difference(const gen::RankState& state, Rank rank, const gen::WholeValues& values) const;
};

/// Same ranks, other ranks (of a world that has so many) or mirrored ones; with a tensor of some KiB in most, one that the source or the destination lacks in some; a budget from
/// 32 bytes on.
TransferJob transfer_job(const World& world, const gen::DrawnCase& drawn);

}  // namespace holdfast::properties
