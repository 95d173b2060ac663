// Runs something of a property's own on every rank of a job.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "impl/protocol/session.h"
#include "properties/gen/draw.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

using gen::Draw;
using Wrong = std::optional<std::string>;

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
