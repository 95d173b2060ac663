// The shape of a round: a tree over the ranks whose root is the coordinator. Up to `fan_out` + 1 ranks it is a star.
#pragma once

#include <vector>

#include "impl/core/ids.h"

namespace holdfast::comm {

class Tree {
 public:
  /// Requires world_size >= 1, 0 <= coordinator < world_size, fan_out >= 1.
  Tree(int world_size, Rank coordinator, int fan_out);

  Rank parent(Rank rank) const;  ///< of a rank that is not the coordinator
  std::vector<Rank> children(Rank rank) const;
  /// The rank and all below it, ascending.
  std::vector<Rank> subtree(Rank rank) const;
  int depth(Rank rank) const;  ///< 0 for the coordinator
  int height() const;          ///< the greatest depth

 private:
  // Positions: 0 is the coordinator, the others follow in rank order, wrapping; position p has children p * fan_out + 1 and so on.
  int position(Rank rank) const;
  Rank at(int position) const;
  int world_size_;
  int coordinator_;
  int fan_out_;
};

}  // namespace holdfast::comm
