#include "properties/worlds/threads_world.h"

#include <stdlib.h>

#include <exception>
#include <mutex>
#include <thread>

#include "impl/backend/host/clock.h"
#include "impl/backend/host/device.h"
#include "impl/backend/host/tasks.h"
#include "impl/backend/inprocess/world.h"
#include "impl/core/check.h"

namespace holdfast::properties {
namespace {

/// Memory where there is a memory file system: a property makes thousands of small durable files.
std::filesystem::path scratch_root() {
  std::error_code ignored;
  const std::filesystem::path memory = "/dev/shm";
  return std::filesystem::is_directory(memory, ignored) ? memory : std::filesystem::temp_directory_path();
}

}  // namespace

Result<std::unique_ptr<World>> ThreadsWorld::make() {
  std::string name = scratch_root() / "holdfast-XXXXXX";
  if (!mkdtemp(name.data())) return fail(ErrorCode::io_error, "threads world: cannot make a directory like \"{}\"", name);
  std::unique_ptr<ThreadsWorld> world(new ThreadsWorld(name));
  world->reset();
  return world;
}

ThreadsWorld::~ThreadsWorld() {
  storage_.reset();
  std::error_code ignored;  // nothing to tell it to
  std::filesystem::remove_all(directory_, ignored);
}

void ThreadsWorld::reset() {
  storage_.reset();
  std::filesystem::remove_all(directory_);
  std::filesystem::create_directory(directory_);
  auto storage = backend::PosixStorage::open_root(directory_.string());
  CHECK(storage.has_value(), "{}", storage.error());
  storage_ = *std::move(storage);
}

std::vector<std::string> ThreadsWorld::run(int world_size, std::uint64_t /*seed*/, const RankMain& rank_main) {
  backend::InProcessWorld network(world_size);
  backend::SteadyClock clock;
  std::vector<std::string> problems;
  std::mutex problems_mutex;
  const auto problem = [&](std::string text) {
    const std::lock_guard lock(problems_mutex);
    problems.push_back(std::move(text));
  };
  const auto rank_thread = [&](Rank rank) {
    backend::HostDevice device({.streams = backend::StreamMode::lazy});
    backend::ThreadTasks tasks;
    const port::Env env{network.net(rank), network.data(rank), *storage_, device, clock, tasks};
    try {
      rank_main(env, rank);
    } catch (const std::exception& exception) {
      problem(fmt::format("rank {}: exception: {}", rank, exception.what()));
    }
    network.leave(rank);
    if (const auto closed = tasks.close(clock.after(std::chrono::seconds(10))); !closed)
      problem(fmt::format("rank {}: {}", rank, closed.error()));
    if (device.live_buffers() + device.live_streams() + device.live_events() != 0) {
      problem(fmt::format("rank {}: {} buffers, {} streams, {} events were not given back", rank, device.live_buffers(),
                          device.live_streams(), device.live_events()));
    }
  };
  std::vector<std::thread> threads;
  for (int r = 0; r < world_size; ++r) threads.emplace_back(rank_thread, Rank{r});
  for (std::thread& thread : threads) thread.join();
  if (storage_->live_files() != 0) problems.push_back(fmt::format("{} files were left open", storage_->live_files()));
  return problems;
}

}  // namespace holdfast::properties
