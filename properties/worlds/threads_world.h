// Ranks as threads of this process, messages in memory, files in a temporary directory.
#pragma once

#include <memory>

#include "impl/backend/posix/posix_storage.h"
#include "properties/worlds/scratch.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

class ThreadsWorld : public World {
 public:
  static Result<std::unique_ptr<World>> make();
  std::string_view name() const override { return "threads"; }
  void reset() override;
  WorldRun run(int world_size, std::uint64_t seed, const RankMain& rank_main) override;

 private:
  explicit ThreadsWorld(std::unique_ptr<Scratch> scratch) : scratch_(std::move(scratch)) {}
  std::unique_ptr<Scratch> scratch_;
  std::unique_ptr<backend::PosixStorage> storage_;  // goes before its directory does
};

}  // namespace holdfast::properties
