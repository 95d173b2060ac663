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

/// What a device may do to its rank.
enum class DeviceFault : std::uint8_t {
  out_of_memory,  ///< one call is refused; the next ones are not
  call_lost,      ///< one call says that the device is lost, as after an uncorrectable ECC error
  work_lost,      ///< work that was enqueued does not run; every call after it says so
};

/// Makes devices fail, where a world's can.
class DeviceFaults {
 public:
  virtual ~DeviceFaults() = default;
  /// The nth call from now (0: the next) on the device of `rank`, or the nth piece of its work that runs, fails. One fault is armed at a time. Used by ranks while they run.
  virtual void arm(Rank rank, DeviceFault fault, std::uint64_t nth) = 0;
  /// Nothing fails any more. True when the fault has happened.
  virtual bool disarm() = 0;
};

class World {
 public:
  virtual ~World() = default;
  virtual std::string_view name() const = 0;
  /// True where the ranks' tensors must lie in device memory.
  virtual bool device_memory() const { return false; }
  /// Null where devices do not fail on demand.
  virtual DeviceFaults* device_faults() { return nullptr; }
  /// Ranks of a run at most.
  virtual int ranks_max() const { return 1 << 16; }
  /// True where ranks, storage and devices are somebody's own, who wants to know first whether they do what they must (properties/preflight).
  virtual bool needs_preflight() const { return false; }
  /// What the ranks run on, by rank, where that is worth telling.
  virtual std::vector<std::string> machines() const { return {}; }
  /// False in a process that checks along with others, one of which tells what was found.
  virtual bool tells() const { return true; }
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
