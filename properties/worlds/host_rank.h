// One rank over the back ends of this host. Whether it is a thread or a process is the world's affair, as network and storage are. What it ended with
// travels between processes as bytes.
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

/// Ends a rank's part in the network.
using Leave = std::function<Status(port::Deadline)>;

/// Runs `rank_main` over the device, threads and the system's clock, then `leave`.
HostRank run_rank_on(port::Device& device, Rank rank, port::Net& net, port::DataPlane& data, port::Storage& storage,
                     const RankMain& rank_main, const Leave& leave);
/// The same over host memory, all of which must be given back.
HostRank run_host_rank(Rank rank, port::Net& net, port::DataPlane& data, port::Storage& storage, const RankMain& rank_main,
                       const Leave& leave);

/// Waits a few seconds for what calls that were given up at a deadline still hold. False: it is not clear.
bool clears(const std::function<bool()>& is_clear);

}  // namespace holdfast::properties
