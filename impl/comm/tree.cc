#include "impl/comm/tree.h"

#include <algorithm>

#include "impl/core/check.h"

namespace holdfast::comm {

Tree::Tree(int world_size, Rank coordinator, int fan_out) : world_size_(world_size), coordinator_(coordinator.value), fan_out_(fan_out) {
  CHECK(world_size >= 1 && coordinator.value >= 0 && coordinator.value < world_size && fan_out >= 1,
        "tree of {} ranks, coordinator {}, fan-out {}", world_size, coordinator, fan_out);
}

int Tree::position(Rank rank) const { return (rank.value - coordinator_ + world_size_) % world_size_; }
Rank Tree::at(int position) const { return {(position + coordinator_) % world_size_}; }

Rank Tree::parent(Rank rank) const {
  CHECK(position(rank) != 0, "the coordinator has no parent");
  return at((position(rank) - 1) / fan_out_);
}

std::vector<Rank> Tree::children(Rank rank) const {
  std::vector<Rank> children;
  const std::int64_t first = std::int64_t{position(rank)} * fan_out_ + 1;
  const std::int64_t end = std::min<std::int64_t>(first + fan_out_, world_size_);
  for (std::int64_t p = first; p < end; ++p) children.push_back(at(static_cast<int>(p)));
  return children;
}

std::vector<Rank> Tree::subtree(Rank rank) const {
  std::vector<Rank> all{rank};
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (const Rank child : children(all[i])) all.push_back(child);
  }
  std::ranges::sort(all);
  return all;
}

int Tree::depth(Rank rank) const {
  int depth = 0;
  for (int p = position(rank); p != 0; p = (p - 1) / fan_out_) ++depth;
  return depth;
}

int Tree::height() const { return depth(at(world_size_ - 1)); }

}  // namespace holdfast::comm
