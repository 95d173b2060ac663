// One rank that is a process: its part of a run over TCP and files, and how what it ended with travels to another process.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "impl/backend/tcp/rendezvous.h"
#include "impl/backend/tcp/socket.h"
#include "properties/worlds/host_rank.h"

namespace holdfast::properties {

/// How a rank runs once it has network and storage: run_host_rank, or the same with another device.
using RunRank = std::function<HostRank(Rank, port::Net&, port::DataPlane&, port::Storage&, const RankMain&, const Leave&)>;

/// Meets the other ranks within `join_limit` (`listener`: rank 0's, or none), opens the storage in `directory`, and runs. A failure of that is a problem of the rank.
HostRank run_tcp_rank(const backend::Rendezvous& rendezvous, const std::string& directory, backend::Fd listener, port::Duration join_limit,
                      const RunRank& run_rank, const RankMain& rank_main);

using Marks = std::map<std::string, std::uint64_t>;
/// Hits since `before`, which mark_hits() gave.
Marks marks_since(const Marks& before);

/// A rank's end and the marks it reached.
Bytes encode(const HostRank& ended, const Marks& marks);
/// Errors: corrupt.
Result<HostRank> decode_rank(ByteView bytes, Marks& marks);

}  // namespace holdfast::properties
