// Runs something of a property's own on every rank of a job.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "impl/core/check.h"
#include "impl/protocol/session.h"
#include "properties/gen/draw.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

using gen::Draw;
using Wrong = std::optional<std::string>;  ///< what is wrong, in a text that is not empty

/// Runs `body` on every rank. Gives what the world complains about, else what the lowest rank's body did. What else a body writes is lost in a
/// world of processes.
inline Wrong on_ranks(World& world, int ranks, std::uint64_t seed, const std::function<Wrong(const port::Env&, Rank)>& body) {
  const WorldRun run = world.run(ranks, seed, [&](const port::Env& env, Rank rank) {
    const Wrong wrong = body(env, rank);
    CHECK(!wrong || !wrong->empty(), "rank {} does not say what is wrong", rank);
    return wrong ? to_bytes(as_bytes(*wrong)) : Bytes();
  });
  if (!run.problems.empty()) return run.problems.front();
  for (std::size_t r = 0; r < run.results.size(); ++r) {
    if (!run.results[r].empty()) return fmt::format("rank {}: {}", r, as_text(run.results[r]));
  }
  return std::nullopt;
}

/// The same with a session of the rank's own.
inline Wrong on_ranks(World& world, int ranks, std::uint64_t seed, Rank coordinator,
                      const std::function<Wrong(protocol::Session&, Rank)>& body) {
  return on_ranks(world, ranks, seed, [&](const port::Env& env, Rank rank) {
    protocol::Session session(env, {.coordinator = coordinator});
    return body(session, rank);
  });
}

}  // namespace holdfast::properties
