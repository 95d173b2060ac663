// One rank over the back ends of this host. Whether it is a thread or a process is the world's affair, as network and storage are.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "properties/worlds/world.h"

namespace holdfast::properties {

struct HostRank {
  Bytes result;                       ///< what `rank_main` gave
  std::vector<std::string> problems;  ///< an exception, or what the rank left behind; each begins with the rank
};

/// Runs `rank_main` over host memory, threads and the system's clock, then `leave`, which ends the rank's part in the network.
HostRank run_host_rank(Rank rank, port::Net& net, port::DataPlane& data, port::Storage& storage, const RankMain& rank_main,
                       const std::function<Status(port::Deadline)>& leave);

}  // namespace holdfast::properties
