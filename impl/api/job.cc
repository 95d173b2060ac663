#include "impl/api/job.h"

#include <exception>
#include <new>
#include <system_error>
#include <thread>

#include "impl/backend/host/clock.h"
#include "impl/backend/host/device.h"
#include "impl/backend/host/tasks.h"
#include "impl/backend/inprocess/world.h"
#include "impl/backend/tcp/world.h"
#include "impl/core/check.h"

namespace holdfast {

struct Job::State {
  State(std::shared_ptr<backend::InProcessWorld> the_world, Rank the_rank)
      : threads(std::move(the_world)), net(threads->net(the_rank)), data(threads->data(the_rank)) {}
  explicit State(std::unique_ptr<backend::TcpWorld> the_world)
      : processes(std::move(the_world)), net(processes->net()), data(processes->data()) {}

  std::shared_ptr<backend::InProcessWorld> threads;  // or
  std::unique_ptr<backend::TcpWorld> processes;
  port::Net& net;
  port::DataPlane& data;
  backend::SteadyClock clock;
  backend::HostDevice host;
  std::unique_ptr<port::Device> given;  ///< by the caller; null: the host's memory
  backend::ThreadTasks tasks;
  std::uint32_t channels = 0;  ///< given out
};

std::uint32_t Job::next_channel() { return ++state_->channels; }

std::unique_ptr<Job> Job::alone() {
  return std::unique_ptr<Job>(new Job(std::make_unique<State>(std::make_shared<backend::InProcessWorld>(1), Rank{0})));
}

Job::Job(std::unique_ptr<State> state) : state_(std::move(state)) {}
Result<std::unique_ptr<Job>> Job::from_launcher(port::Duration patience) {
  const backend::Rendezvous found = TRY(backend::rendezvous(backend::process_environment()));
  if (found.world_size == 1) return alone();
  std::unique_ptr<backend::TcpWorld> world = TRY(backend::TcpWorld::join(found, {}, backend::SteadyClock().after(patience)));
  return std::unique_ptr<Job>(new Job(std::make_unique<State>(std::move(world))));
}

Job::~Job() {
  if (state_->threads) state_->threads->leave(rank());
}

Rank Job::rank() const { return state_->net.rank(); }
int Job::world_size() const { return state_->net.world_size(); }
port::Clock& Job::clock() { return state_->clock; }

void Job::use_device(std::unique_ptr<port::Device> device) { state_->given = std::move(device); }

port::Env Job::env(port::Storage& storage, port::Observer* observer) {
  port::Device& device = state_->given ? *state_->given : state_->host;
  return {state_->net, state_->data, storage, device, state_->clock, state_->tasks, observer};
}

Status Job::close(port::Deadline deadline) {
  TRY(state_->tasks.close(deadline));
  return state_->processes ? state_->processes->leave(deadline) : Status();
}

std::vector<Status> run_local_job(int ranks, const std::function<Status(Job&)>& body) {
  CHECK(ranks >= 1, "a job of {} ranks", ranks);
  const auto world = std::make_shared<backend::InProcessWorld>(ranks);
  std::vector<Status> results(static_cast<std::size_t>(ranks));
  const auto rank_main = [&](Rank rank) {
    Status& result = results[static_cast<std::size_t>(rank.value)];
    Job job(std::make_unique<Job::State>(world, rank));
    try {
      result = body(job);
    } catch (const std::bad_alloc&) {
      result = fail(ErrorCode::out_of_memory, "rank {}: out of host memory", rank);
    } catch (const std::exception& exception) {
      result = fail(ErrorCode::io_error, "rank {}: {}", rank, exception.what());
    }
  };
  std::vector<std::thread> threads;
  for (Rank rank{0}; rank.value < ranks; ++rank.value) {
    try {
      threads.emplace_back(rank_main, rank);
    } catch (const std::system_error& refused) {
      // The others must not wait for a rank that never came.
      results[static_cast<std::size_t>(rank.value)] = fail(ErrorCode::io_error, "start the thread of rank {}: {}", rank, refused.what());
      world->leave(rank);
    }
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

}  // namespace holdfast
