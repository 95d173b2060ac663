// A world: the back ends a property runs over (ARCHITECTURE.md, "Worlds"). A property asks for no more than this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/error.h"
#include "impl/port/env.h"

namespace holdfast::properties {

using RankMain = std::function<void(const port::Env&, Rank)>;

class World {
 public:
  virtual ~World() = default;
  virtual std::string_view name() const = 0;
  /// True where the ranks' tensors must lie in device memory.
  virtual bool device_memory() const { return false; }
  /// Empties the storage.
  virtual void reset() = 0;
  /// Runs `rank_main` on every rank until all are back; the storage keeps what earlier runs left. `seed` chooses the schedule where the world has
  /// one. Returns what went wrong beside the ranks' own results, one line each: hangs, leaks, exceptions, misuse of a door.
  virtual std::vector<std::string> run(int world_size, std::uint64_t seed, const RankMain& rank_main) = 0;
};

/// "sim" or "threads" ("simgpu" is worlds/simgpu's). Errors: invalid_argument for another name; io_error when the world cannot be set up here.
Result<std::unique_ptr<World>> make_world(std::string_view name);

}  // namespace holdfast::properties
