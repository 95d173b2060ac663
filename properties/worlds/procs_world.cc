#include "properties/worlds/procs_world.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "impl/backend/host/clock.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/backend/tcp/world.h"
#include "impl/core/encoding.h"
#include "impl/core/mark.h"
#include "properties/worlds/host_rank.h"
#include "properties/worlds/processes.h"

namespace holdfast::properties {
namespace {

constexpr port::Duration join_limit = std::chrono::seconds(60);

using Marks = std::map<std::string, std::uint64_t>;

/// Hits since `before`.
Marks marks_since(const Marks& before) {
  Marks marks = mark_hits();
  for (const auto& [name, hits] : before) marks[name] -= hits;
  std::erase_if(marks, [](const auto& mark) { return mark.second == 0; });
  return marks;
}

Bytes encode(const HostRank& ended, const Marks& marks) {
  Encoder out;
  out.blob(ended.result);
  out.varint(ended.problems.size());
  for (const std::string& problem : ended.problems) out.text(problem);
  out.varint(marks.size());
  for (const auto& [name, hits] : marks) {
    out.text(name);
    out.varint(hits);
  }
  return out.take();
}

/// Counts the marks of the rank as this process's own.
Result<HostRank> decode(ByteView bytes) {
  Decoder in(bytes, "the end of a rank");
  HostRank ended{to_bytes(TRY(in.blob())), {}};
  for (std::size_t left = TRY(in.count(1)); left > 0; --left) ended.problems.push_back(TRY(in.text()));
  Marks marks;
  for (std::size_t left = TRY(in.count(2)); left > 0; --left) {
    std::string name = TRY(in.text());
    marks[std::move(name)] = TRY(in.varint());
  }
  TRY(in.finish());
  add_mark_hits(marks);
  return ended;
}

Result<HostRank> in_network(const backend::Rendezvous& rendezvous, const std::string& directory, backend::Fd listener,
                            const RankMain& rank_main) {
  const auto storage = TRY(backend::PosixStorage::open_root(directory));
  backend::SteadyClock clock;
  const auto network = TRY(backend::TcpWorld::join(rendezvous, {}, clock.after(join_limit), std::move(listener)));
  const auto leave = [&](port::Deadline deadline) { return network->leave(deadline); };
  HostRank ended = run_host_rank(rendezvous.rank, network->net(), network->data(), *storage, rank_main, leave);
  if (storage->live_files() != 0)
    ended.problems.push_back(fmt::format("rank {}: {} files were left open", rendezvous.rank, storage->live_files()));
  return ended;
}

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
      Result<HostRank> ended = in_network(rendezvous, directory, std::move(listener), rank_main);
      if (!ended) ended = HostRank{{}, {fmt::format("rank {}: {}", rendezvous.rank, ended.error())}};
      return encode(*ended, marks_since(before));
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
    Result<HostRank> ended = decode(*ends[r].result);
    if (!ended) {
      run.problems.push_back(fmt::format("rank {}: {}", r, ended.error()));
      continue;
    }
    run.results[r] = std::move(ended->result);
    std::ranges::move(ended->problems, std::back_inserter(consequences));
  }
  std::ranges::move(consequences, std::back_inserter(run.problems));
  return run;
}

}  // namespace holdfast::properties
