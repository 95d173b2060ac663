#include "properties/worlds/procs_world.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "impl/core/mark.h"
#include "properties/worlds/processes.h"
#include "properties/worlds/tcp_rank.h"

namespace holdfast::properties {
namespace {

/// Forks every rank. The port is the system's choice, and taken before there is a rank: nobody else can have it.
Result<Processes> start_ranks(int world_size, const std::string& directory, std::uint64_t run, const RankMain& rank_main) {
  backend::Fd listener = TRY(backend::listen_at("127.0.0.1", 0));
  backend::Rendezvous rendezvous{.world_size = world_size,
                                 .port = TRY(backend::local_address(listener)).port(),
                                 .job_id = fmt::format("run {} of process {}", run, ::getpid())};
  Processes ranks = TRY(Processes::make());
  for (rendezvous.rank = Rank{0}; rendezvous.rank.value < world_size; ++rendezvous.rank.value) {
    TRY(ranks.start([&] {
      if (rendezvous.rank != Rank{0}) listener.reset();  // it ends with rank 0
      const Marks before = mark_hits();
      const HostRank ended = run_tcp_rank(rendezvous, directory, std::move(listener), std::chrono::seconds(60), run_host_rank, rank_main);
      return encode(ended, marks_since(before));
    }));
  }
  return ranks;
}

}  // namespace

std::string killed(Rank rank) { return fmt::format("rank {}: {}", rank, killed_by(SIGKILL)); }

Result<std::unique_ptr<World>> ProcsWorld::make(std::chrono::milliseconds run_limit) {
  return std::unique_ptr<World>(new ProcsWorld(TRY(Scratch::make()), run_limit));
}

WorldRun ProcsWorld::run(int world_size, std::uint64_t /*seed*/, const RankMain& rank_main) {
  WorldRun run;
  run.results.resize(static_cast<std::size_t>(world_size));
  Result<Processes> ranks = start_ranks(world_size, scratch_->path(), runs_++, rank_main);
  if (!ranks) {
    run.problems = {fmt::format("start {} ranks: {}", world_size, ranks.error())};
    return run;
  }
  const std::vector<ProcessEnd> ends = ranks->wait(run_limit_);
  std::vector<std::string> consequences;  // perhaps, of a rank that crashed
  for (std::size_t r = 0; r < ends.size(); ++r) {
    if (!ends[r].result) {
      run.problems.push_back(fmt::format("rank {}: {}", r, ends[r].how));
      continue;
    }
    Marks marks;
    Result<HostRank> ended = decode_rank(*ends[r].result, marks);
    if (!ended) {
      run.problems.push_back(fmt::format("rank {}: {}", r, ended.error()));
      continue;
    }
    add_mark_hits(marks);
    run.results[r] = std::move(ended->result);
    std::ranges::move(ended->problems, std::back_inserter(consequences));
  }
  std::ranges::move(consequences, std::back_inserter(run.problems));
  return run;
}

}  // namespace holdfast::properties
