// What a save, load or transfer that did not succeed says, the same on every rank: which ranks failed, doing what, why.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "impl/core/encoding.h"
#include "impl/core/error.h"
#include "impl/core/ids.h"

namespace holdfast {

/// Failed ranks with their errors. Equal errors are kept once, with ranges of ranks, so that 10,000 equal failures stay small.
class FailureMap {
 public:
  struct Range {
    Rank first, last;  ///< both included
    bool operator==(const Range&) const = default;
  };
  struct Group {
    Error error;
    std::vector<Range> ranks;  ///< ascending, not touching
    bool operator==(const Group&) const = default;
  };

  /// The first error of a rank stays; a second one is ignored.
  void add(Rank rank, Error error);
  /// Adds each of them.
  void merge(const FailureMap& other);

  bool empty() const { return groups_.empty(); }
  std::vector<Rank> ranks() const;     ///< ascending
  const Error* find(Rank rank) const;  ///< null when the rank did not fail
  /// Ordered by the lowest rank of each group.
  const std::vector<Group>& groups() const { return groups_; }

  void encode(Encoder& out) const;
  static Result<FailureMap> decode(Decoder& in);
  bool operator==(const FailureMap&) const = default;

 private:
  std::vector<Group> groups_;
};

std::string to_string(const FailureMap& failures);  ///< "ranks 1,4-7: message (code); rank 9: ..."
/// "rank 3", "ranks 1,4-7". Requires: one rank at least.
std::string rank_text(std::span<const Rank> ranks);

enum class Outcome : std::uint8_t {
  committed = 1,  ///< the commit record is durable
  failed = 2,     ///< nothing was committed and nothing will be
  unknown = 3,    ///< this rank cannot tell: the stored commit record decides (recover)
};
std::string_view to_string(Outcome outcome);

/// The one error of save, load and transfer. DCP's CheckpointException: `failures` maps the rank in the group to its error.
struct CheckpointError {
  /// The round that failed: of a save "plan" or "write", of a load "choose", "plan", "read" or "place", of a transfer "plan" or "move"; "recover"; "pending".
  std::string step;
  Outcome outcome = Outcome::failed;
  FailureMap failures;     ///< exactly the ranks whose own work failed
  std::vector<Rank> lost;  ///< ranks that could not be heard; their state is not known
  bool operator==(const CheckpointError&) const = default;
};
std::string to_string(const CheckpointError& error);

}  // namespace holdfast
