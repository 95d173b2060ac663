// Runs something of a property's own on every rank of a job.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "impl/protocol/session.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

using Wrong = std::optional<std::string>;

/// Draws numbers from a seed, the same everywhere.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}
  /// 0 to bound - 1. Requires: a bound above 0.
  std::uint64_t below(std::uint64_t bound) {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (x ^ (x >> 31)) % bound;
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

/// Runs `body` on every rank with a session of its own. Gives what the world complains about, else what the lowest rank's body did.
inline Wrong on_ranks(World& world, int ranks, std::uint64_t seed, Rank coordinator,
                      const std::function<Wrong(protocol::Session&, Rank)>& body) {
  std::vector<Wrong> wrongs(static_cast<std::size_t>(ranks));
  const std::vector<std::string> problems = world.run(ranks, seed, [&](const port::Env& env, Rank rank) {
    protocol::Session session(env, {.coordinator = coordinator});
    wrongs[static_cast<std::size_t>(rank.value)] = body(session, rank);
  });
  if (!problems.empty()) return problems.front();
  for (std::size_t r = 0; r < wrongs.size(); ++r) {
    if (wrongs[r]) return fmt::format("rank {}: {}", r, *wrongs[r]);
  }
  return std::nullopt;
}

}  // namespace holdfast::properties
