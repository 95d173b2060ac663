// A world: the back ends a property runs over (ARCHITECTURE.md, "Worlds"). A property asks for no more than this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/error.h"
#include "impl/port/env.h"

namespace holdfast::properties {

/// What one rank does. It gives its result back as bytes, which can leave a process: where ranks are processes, all else that they write is lost.
using RankMain = std::function<Bytes(const port::Env&, Rank)>;

struct WorldRun {
  std::vector<Bytes> results;         ///< by rank; empty of a rank that did not come back, which is a problem
  std::vector<std::string> problems;  ///< beside the ranks' own results, one line each: hangs, crashes, leaks, exceptions, misuse of a door
};

class World {
 public:
  virtual ~World() = default;
  virtual std::string_view name() const = 0;
  /// True where the ranks' tensors must lie in device memory.
  virtual bool device_memory() const { return false; }
  /// Empties the storage.
  virtual void reset() = 0;
  /// Runs `rank_main` on every rank until all are back; the storage keeps what earlier runs left. `seed` chooses the schedule where the world has
  /// one.
  virtual WorldRun run(int world_size, std::uint64_t seed, const RankMain& rank_main) = 0;
};

/// "sim", "threads" or "procs" ("simgpu" is worlds/simgpu's). Errors: invalid_argument for another name; io_error when the world cannot be set up
/// here.
Result<std::unique_ptr<World>> make_world(std::string_view name);

}  // namespace holdfast::properties
