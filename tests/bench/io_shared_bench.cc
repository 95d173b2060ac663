// Two replicas load one state of 2 GiB: each reads all of it, or each reads half and sends it to the other.
#include <cstring>

#include "impl/backend/posix/posix_storage.h"
#include "impl/protocol/files.h"
#include "impl/protocol/load.h"
#include "tests/bench/io_ceiling.h"
#include "tests/bench/io_job.h"

namespace holdfast::bench {
namespace {

constexpr int ranks = 2;

struct Loaded {
  std::uint64_t bytes_read = 0;  ///< by all ranks
  double gb_per_s = 0;           ///< of what all ranks have in the end
};

Result<Loaded> load(Job& job, std::vector<RankState>& states, protocol::LoadMode mode, bool share) {
  std::vector<protocol::Volume> volumes(states.size());
  const TensorDigest saved = states[0].digest();
  for (RankState& state : states) state.poison();
  const ProcessTime begin;
  TRY(job.run([&](protocol::Session& session, std::size_t rank) -> Status {
    const auto loaded =
        protocol::load(session, states[rank].dict,
                       {.deadline = patience, .reading = {.mode = mode}, .share_reads = share, .staging_keep_bytes = ~std::uint64_t{0}});
    if (loaded) volumes[rank] = loaded->volume;
    return status_of(loaded);
  }));
  Loaded done{0, begin.rate(states.size() * states[0].bytes()).gb_per_s};
  for (const protocol::Volume& volume : volumes) done.bytes_read += volume.bytes_read;
  for (const RankState& state : states) {
    if (state.digest() != saved) return fail(ErrorCode::corrupt, "load shared p={}: a rank has other values than were saved", ranks);
  }
  return done;
}

}  // namespace

Status bench_shared_reads(const Request& request) {
  const std::string size = fmt::format("shared p={}", ranks);
  if (!request.wants(size)) return {};
  const Folder folder;
  const auto storage = TRY(backend::PosixStorage::open_root(folder.path()));
  std::vector<RankState> states;
  for (int r = 0; r < ranks; ++r) states.emplace_back(tensors(request.quick), ReplicatedLayout{}, Rank{r});
  std::memcpy(states[1].memory().data(), states[0].memory().data(), states[0].bytes());
  Job job(*storage, ranks);
  TRY(job.run([&](protocol::Session& session, std::size_t rank) -> Status {
    return status_of(protocol::save(session, states[rank].dict, {.step = Step{1}, .deadline = patience}));
  }));
  const std::uint64_t stored = states[0].bytes();
  for (const auto mode : {protocol::LoadMode::streamed, protocol::LoadMode::all_or_nothing}) {
    std::vector<double> shared_gb_per_s, own_gb_per_s;
    Loaded shared, own;
    const int repeats = request.quick ? 1 : 5;
    for (int repeat = -1; repeat < repeats; ++repeat) {  // the first, which makes memory and files known to the system, does not count
      own = TRY(load(job, states, mode, false));
      shared = TRY(load(job, states, mode, true));
      if (repeat < 0 && !request.quick) continue;
      own_gb_per_s.push_back(own.gb_per_s);
      shared_gb_per_s.push_back(shared.gb_per_s);
    }
    const std::string name = mode == protocol::LoadMode::streamed ? "load" : "load all-or-nothing";
    const auto report = [&](const std::string& what, double value, const char* unit, std::optional<double> of) {
      request.report({fmt::format("{} {}", name, what), value, unit, of, ranks * stored, dtypes});
    };
    const auto of_stored = [&](const Loaded& loaded) { return static_cast<double>(loaded.bytes_read) / static_cast<double>(stored); };
    report("alone p=2", of_stored(own), "read/stored", {});
    report(size, of_stored(shared), "read/stored", 1.0);
    report("speed alone p=2", median(own_gb_per_s), "GB/s", {});
    report("speed " + size, median(shared_gb_per_s), "GB/s", median(own_gb_per_s));
  }
  return {};
}

}  // namespace holdfast::bench
