#include "properties/worlds/host_rank.h"

#include <exception>

#include "impl/backend/host/clock.h"
#include "impl/backend/host/device.h"
#include "impl/backend/host/tasks.h"

namespace holdfast::properties {

HostRank run_rank_on(port::Device& device, Rank rank, port::Net& net, port::DataPlane& data, port::Storage& storage,
                     const RankMain& rank_main, const Leave& leave) {
  HostRank ended;
  const auto problem = [&](std::string_view text) { ended.problems.push_back(fmt::format("rank {}: {}", rank, text)); };
  backend::SteadyClock clock;
  backend::ThreadTasks tasks;
  try {
    ended.result = rank_main({net, data, storage, device, clock, tasks}, rank);
  } catch (const std::exception& exception) {
    problem(fmt::format("exception: {}", exception.what()));
  }
  const port::Deadline deadline = clock.after(std::chrono::seconds(10));
  if (const Status left = leave(deadline); !left) problem(left.error().message);  // which ends what tasks still wait for
  if (const Status closed = tasks.close(deadline); !closed) problem(closed.error().message);
  return ended;
}

HostRank run_host_rank(Rank rank, port::Net& net, port::DataPlane& data, port::Storage& storage, const RankMain& rank_main,
                       const Leave& leave) {
  backend::HostDevice device({.streams = backend::StreamMode::lazy});
  HostRank ended = run_rank_on(device, rank, net, data, storage, rank_main, leave);
  if (!clears([&] { return device.live_buffers() + device.live_streams() + device.live_events() == 0; })) {
    ended.problems.push_back(fmt::format("rank {}: {} buffers, {} streams, {} events were not given back", rank, device.live_buffers(),
                                         device.live_streams(), device.live_events()));
  }
  return ended;
}

bool clears(const std::function<bool()>& is_clear) {
  backend::SteadyClock clock;
  for (const port::Deadline deadline = clock.after(std::chrono::seconds(5)); !is_clear() && clock.now() < deadline.at;)
    clock.sleep_until(clock.now() + std::chrono::milliseconds(1));
  return is_clear();
}

}  // namespace holdfast::properties
