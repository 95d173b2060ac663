#include "properties/worlds/threads_world.h"

#include <algorithm>
#include <iterator>
#include <thread>

#include "impl/backend/inprocess/world.h"
#include "impl/core/check.h"
#include "properties/worlds/host_rank.h"

namespace holdfast::properties {

Result<std::unique_ptr<World>> ThreadsWorld::make() {
  std::unique_ptr<ThreadsWorld> world(new ThreadsWorld(TRY(Scratch::make())));
  world->reset();
  return world;
}

void ThreadsWorld::reset() {
  storage_.reset();
  scratch_->empty();
  auto storage = backend::PosixStorage::open_root(scratch_->path());
  CHECK(storage.has_value(), "{}", storage.error());
  storage_ = *std::move(storage);
}

WorldRun ThreadsWorld::run(int world_size, std::uint64_t /*seed*/, const RankMain& rank_main) {
  backend::InProcessWorld network(world_size);
  std::vector<HostRank> ended(static_cast<std::size_t>(world_size));
  const auto rank_thread = [&](Rank rank) {
    const auto leave = [&](port::Deadline) {
      network.leave(rank);
      return Status();
    };
    ended[static_cast<std::size_t>(rank.value)] = run_host_rank(rank, network.net(rank), network.data(rank), *storage_, rank_main, leave);
  };
  std::vector<std::thread> threads;
  for (int r = 0; r < world_size; ++r) threads.emplace_back(rank_thread, Rank{r});
  for (std::thread& thread : threads) thread.join();
  WorldRun run;
  for (HostRank& rank : ended) {
    run.results.push_back(std::move(rank.result));
    std::ranges::move(rank.problems, std::back_inserter(run.problems));
  }
  if (storage_->live_files() != 0) run.problems.push_back(fmt::format("{} files were left open", storage_->live_files()));
  return run;
}

}  // namespace holdfast::properties
