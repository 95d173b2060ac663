// Do the ranks that hold the same box hold the same bytes? Told from digests alone, since those of the pieces of a box add up to that of the box. Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "impl/core/digest.h"
#include "impl/core/ids.h"
#include "impl/core/plan_values.h"

namespace holdfast::plan {

/// A box that a rank holds and has not written as one piece: others have written all of it, or parts.
struct HeldBox {
  std::string fqn;
  Box box;
  TensorDigest digest;
  bool operator==(const HeldBox&) const = default;
};

/// A chunk of the checkpoint, as its writer had it.
struct WrittenChunk {
  std::string fqn;
  Dims offset;
  TensorDigest digest;
  Rank rank;
};

/// A box of which not all ranks hold the same.
struct ReplicaDifference {
  std::string fqn;
  Box box;
  std::vector<Rank> ranks;  ///< ascending: those that differ from more than half of the holders; where no half agrees, all of them
  std::string message;      ///< "w" [0]+[8]: digest 12..:34.. on rank 1, 56..:78.. on ranks 0,2; ...
};

/// Compares what the ranks hold of each box, and that with the sum of the chunks written inside it. held[r] are rank r's.
/// A box whose chunks do not tile it cannot be compared with what was written: that is a difference of all its holders as well.
std::vector<ReplicaDifference> compare_replicas(const Metadata& metadata, std::span<const WrittenChunk> written,
                                                std::span<const std::vector<HeldBox>> held);

}  // namespace holdfast::plan
