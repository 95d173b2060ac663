// Ranks as threads of this process, messages in memory, files in a temporary directory.
#pragma once

#include <filesystem>
#include <memory>

#include "impl/backend/posix/posix_storage.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

class ThreadsWorld : public World {
 public:
  static Result<std::unique_ptr<World>> make();
  ~ThreadsWorld() override;
  std::string_view name() const override { return "threads"; }
  void reset() override;
  std::vector<std::string> run(int world_size, std::uint64_t seed, const RankMain& rank_main) override;

 private:
  explicit ThreadsWorld(std::filesystem::path directory) : directory_(std::move(directory)) {}
  std::filesystem::path directory_;
  std::unique_ptr<backend::PosixStorage> storage_;
};

}  // namespace holdfast::properties
