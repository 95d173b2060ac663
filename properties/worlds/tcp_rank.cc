#include "properties/worlds/tcp_rank.h"

#include "impl/backend/host/clock.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/backend/tcp/world.h"
#include "impl/core/encoding.h"
#include "impl/core/mark.h"

namespace holdfast::properties {
namespace {

Result<HostRank> in_network(const backend::Rendezvous& rendezvous, const std::string& directory, backend::Fd listener,
                            port::Duration join_limit, const RunRank& run_rank, const RankMain& rank_main) {
  const auto storage = TRY(backend::PosixStorage::open_root(directory));
  backend::SteadyClock clock;
  const auto network = TRY(backend::TcpWorld::join(rendezvous, {}, clock.after(join_limit), std::move(listener)));
  const auto leave = [&](port::Deadline deadline) { return network->leave(deadline); };
  HostRank ended = run_rank(rendezvous.rank, network->net(), network->data(), *storage, rank_main, leave);
  if (!clears([&] { return storage->live_files() == 0; }))
    ended.problems.push_back(fmt::format("rank {}: {} files were left open", rendezvous.rank, storage->live_files()));
  return ended;
}

}  // namespace

HostRank run_tcp_rank(const backend::Rendezvous& rendezvous, const std::string& directory, backend::Fd listener, port::Duration join_limit,
                      const RunRank& run_rank, const RankMain& rank_main) {
  Result<HostRank> ended = in_network(rendezvous, directory, std::move(listener), join_limit, run_rank, rank_main);
  if (!ended) return {{}, {fmt::format("rank {}: {}", rendezvous.rank, ended.error())}};
  return *std::move(ended);
}

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

Result<HostRank> decode_rank(ByteView bytes, Marks& marks) {
  Decoder in(bytes, "the end of a rank");
  HostRank ended{to_bytes(TRY(in.blob())), {}};
  for (std::size_t left = TRY(in.count(1)); left > 0; --left) ended.problems.push_back(TRY(in.text()));
  for (std::size_t left = TRY(in.count(2)); left > 0; --left) {
    std::string name = TRY(in.text());
    marks[std::move(name)] = TRY(in.varint());
  }
  TRY(in.finish());
  return ended;
}

}  // namespace holdfast::properties
