// Durable saves and verified loads of a state of 2 GiB, digests on, held against what the disk gives in the same minute.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "impl/backend/host/clock.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/core/check.h"
#include "impl/protocol/files.h"
#include "impl/protocol/load.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/pipe.h"
#include "impl/protocol/save.h"
#include "tests/bench/bench.h"
#include "tests/bench/io_ceiling.h"
#include "tests/bench/io_job.h"
#include "tests/bench/peer.h"

namespace holdfast::bench {
namespace {

constexpr double cpu_aim = 0.10;  ///< s/GB
constexpr double digest_aim = 5;  ///< percent of a save's time

Status save_all(Job& job, std::vector<RankState>& states, std::int64_t step) {
  return job.run([&](protocol::Session& session, std::size_t rank) -> Status {
    return status_of(
        protocol::save(session, states[rank].dict, {.step = Step{step}, .deadline = patience, .retention = {.keep_last = 1000}}));
  });
}

Status load_all(Job& job, std::vector<RankState>& states, std::vector<protocol::Volume>& volumes, protocol::LoadMode mode, bool keep) {
  return job.run([&](protocol::Session& session, std::size_t rank) -> Status {
    const auto loaded = protocol::load(
        session, states[rank].dict,
        {.deadline = patience, .reading = {.mode = mode}, .staging_keep_bytes = keep ? ~std::uint64_t{0} : std::uint64_t{0}});
    if (loaded) volumes[rank] = loaded->volume;
    return status_of(loaded);
  });
}

struct Rates {
  std::vector<double> gb_per_s, cpu_s_per_gb;
  void add(const Rate& rate) {
    gb_per_s.push_back(rate.gb_per_s);
    cpu_s_per_gb.push_back(rate.cpu_s_per_gb);
  }
  double speed() const { return median(gb_per_s); }
  double cpu() const { return median(cpu_s_per_gb); }
};

/// An asynchronous save, and what the trainer waits for it: until the call returns.
Status async_save_all(Job& job, std::vector<RankState>& states, std::int64_t step, Rates& stalls) {
  return job.run([&](protocol::Session& session, std::size_t rank) -> Status {
    const ProcessTime begin;
    auto pending =
        protocol::async_save(session, states[rank].dict, {.step = Step{step}, .deadline = patience, .retention = {.keep_last = 1000}});
    const Rate rate = begin.rate(states[rank].bytes());
    if (!pending) return status_of(pending);
    if (rank == 0) stalls.add(rate);
    const auto outcome = pending->wait(session.env().clock.after(patience));
    return outcome ? status_of(*outcome) : fail(ErrorCode::timeout, "async save: no outcome in time");
  });
}

/// What no snapshot in host memory can beat: one thread copies the state to memory that is there already.
class Copier {
 public:
  explicit Copier(std::size_t bytes) : bytes_(bytes), memory_(std::aligned_alloc(huge, (bytes + huge) / huge * huge), std::free) {
    static_cast<void>(::madvise(memory_.get(), bytes, MADV_HUGEPAGE));
  }
  Rate copy(const RankState& state) {
    const ProcessTime begin;
    std::memcpy(memory_.get(), state.memory().data(), bytes_);
    return begin.rate(bytes_);
  }

 private:
  static constexpr std::size_t huge = std::size_t{2} << 20;
  std::size_t bytes_;
  std::shared_ptr<void> memory_;
};

/// Bytes that this process has had from a device: none of them from the page cache.
std::uint64_t device_bytes_read() {
  std::ifstream io("/proc/self/io");
  std::string key;
  std::uint64_t value = 0;
  while (io >> key >> value) {
    if (key == "read_bytes:") return value;
  }
  return 0;
}

/// The same bytes through the same doors and windows, but with neither digests nor a protocol: what a save would be without.
Status write_plainly(Job& job, port::Storage& storage, backend::SteadyClock& clock, std::vector<RankState>& states) {
  constexpr std::size_t window_bytes = 4 << 20, windows = 8;
  struct Window {
    std::uint64_t offset;
    port::Buffer buffer;
  };
  return job.run([&](protocol::Session& session, std::size_t rank) -> Status {
    const port::Deadline deadline = clock.after(patience);
    const port::FileId file = TRY(storage.create(fmt::format("plain-{}", rank), deadline));
    protocol::Pipe<Window> pipe(session.env().tasks, "a window");
    const auto write = [&]() -> Status {
      for (;;) {
        std::optional<Window> window = TRY(pipe.pop(deadline));
        if (!window) return {};
        const port::WritePiece piece{window->offset, window->buffer.bytes, window->buffer.owner};
        TRY(storage.write_all(file, {&piece, 1}, deadline));
      }
    };
    auto first = TRY(port::Future<void>::run(session.env().tasks, "write", write));
    auto second = TRY(port::Future<void>::run(session.env().tasks, "write", write));
    const ByteSpan memory = states[rank].memory();
    for (std::size_t at = 0; at < memory.size(); at += window_bytes) {
      const std::size_t bytes = std::min(window_bytes, memory.size() - at);
      Window window{at, TRY(session.staging()->acquire(bytes, windows * window_bytes, deadline))};
      window.buffer.bytes = window.buffer.bytes.first(bytes);
      std::memcpy(window.buffer.bytes.data(), memory.data() + at, bytes);
      TRY(pipe.push(std::move(window)));
    }
    pipe.close();
    TRY(first.get(deadline));
    TRY(second.get(deadline));
    TRY(storage.sync(file, deadline));
    TRY(storage.close(file));
    return storage.sync_directory("", deadline);
  });
}

struct Measured {
  Rates write_ceiling, read_ceiling, save, load, whole_load, first_whole_load, plain, stall, first_stall, copy;
  std::uint64_t bytes = 0;
};

Result<Measured> measure(bool quick, int ranks) {
  const Folder folder;
  const std::vector<Tensor> all = tensors(quick);
  std::vector<RankState> states;
  Measured found;
  for (int r = 0; r < ranks; ++r) {
    states.emplace_back(all, over_all(ranks), Rank{r});
    found.bytes += states.back().bytes();
  }
  std::vector<TensorDigest> digests;
  for (const RankState& state : states) digests.push_back(state.digest());
  const auto storage = TRY(backend::PosixStorage::open_root(folder.path()));
  fmt::print(stderr, "io p={}: {}, {} bytes\n", ranks, storage->engine(), found.bytes);
  const auto ceiling = TRY(IoCeiling::make(folder.path(), found.bytes / (4096 * 8) * (4096 * 8), ranks));
  backend::SteadyClock clock;
  Job job(*storage, ranks), loading(*storage, ranks), async(*storage, ranks);
  std::vector<protocol::Volume> volumes(states.size());
  std::optional<Copier> copier;
  if (ranks == 1) copier.emplace(states[0].bytes());
  const int repeats = quick ? 1 : 7;
  for (int repeat = -1; repeat < repeats; ++repeat) {  // the first, which makes memory and files known to the system, does not count
    Measured counted;
    const auto timed = [&](Rates Measured::* what, auto work) -> Status {
      const ProcessTime begin;
      TRY(work());
      (counted.*what).add(begin.rate(found.bytes));
      return {};
    };
    counted.write_ceiling.add(TRY(ceiling->write()));
    TRY(timed(&Measured::save, [&] { return save_all(job, states, repeat + 10); }));
    if (ranks == 1) {
      TRY(timed(&Measured::plain, [&] { return write_plainly(job, *storage, clock, states); }));
      counted.copy.add(copier->copy(states[0]));
      TRY(async_save_all(async, states, repeat + 1000, counted.stall));
    }
    counted.read_ceiling.add(TRY(ceiling->read()));
    const auto load = [&](Rates Measured::* what, Job& in, protocol::LoadMode mode) -> Status {
      for (RankState& state : states) state.poison();
      const std::uint64_t before = device_bytes_read();
      TRY(timed(what, [&] { return load_all(in, states, volumes, mode, true); }));
      if (const std::uint64_t read = device_bytes_read() - before; read < found.bytes)
        return fail(ErrorCode::io_error, "load p={}: {} of {} bytes came from the device, the rest from a cache", ranks, read, found.bytes);
      for (std::size_t r = 0; r < states.size(); ++r) {
        if (states[r].digest() != digests[r])
          return fail(ErrorCode::corrupt, "load p={}: rank {} has other values than were saved", ranks, r);
      }
      return {};
    };
    TRY(load(&Measured::load, job, protocol::LoadMode::streamed));
    TRY(load(&Measured::whole_load, loading, protocol::LoadMode::all_or_nothing));
    const port::Deadline deadline = clock.after(patience);
    TRY(protocol::empty_directory(*storage, "", "", deadline));
    if (repeat < 0) {  // their staging memory was new
      found.first_whole_load = counted.whole_load;
      found.first_stall = counted.stall;
    }
    if (repeat < 0 && !quick) continue;
    for (const auto what : {&Measured::write_ceiling, &Measured::read_ceiling, &Measured::save, &Measured::load, &Measured::whole_load,
                            &Measured::plain, &Measured::stall, &Measured::copy}) {
      for (const double value : (counted.*what).gb_per_s) (found.*what).gb_per_s.push_back(value);
      for (const double value : (counted.*what).cpu_s_per_gb) (found.*what).cpu_s_per_gb.push_back(value);
    }
  }
  return found;
}

/// PyTorch on as many bytes, where it is installed.
Status bench_peer(const Request& request, std::uint64_t bytes) {
  const Folder folder;
  std::string why;
  const auto peer = TRY(run_peer("io_peer.py", fmt::format("{} {} {}", folder.path(), bytes, request.quick ? 1 : 3), why));
  if (!peer) {
    fmt::print(stderr, "io: no PyTorch to compare with: {}\n", why);
    return {};
  }
  const std::string name = "peer pytorch-" + peer->value("version", "");
  for (const char* what : {"save", "load"}) {
    request.report({fmt::format("{} {} p=1", name, what), peer->value(what, 0.0), "GB/s", {}, bytes, "f32"});
    request.report({fmt::format("{} cpu {}", name, what), peer->value(fmt::format("cpu {}", what), 0.0), "cpu s/GB", {}, bytes, "f32"});
  }
  return {};
}

Status bench_save_load(const Request& request, int ranks) {
  const std::string size = fmt::format("p={}", ranks);
  if (!request.wants(size)) return {};
  const Measured found = TRY(measure(request.quick, ranks));
  const auto report = [&](std::string name, double value, const char* unit, std::optional<double> of) {
    request.report({std::move(name), value, unit, of, found.bytes, dtypes});
  };
  report("ceiling write " + size, found.write_ceiling.speed(), "GB/s", {});
  report("save " + size, found.save.speed(), "GB/s", found.write_ceiling.speed());
  report("ceiling read " + size, found.read_ceiling.speed(), "GB/s", {});
  report("load " + size, found.load.speed(), "GB/s", found.read_ceiling.speed());
  report("load all-or-nothing " + size, found.whole_load.speed(), "GB/s", found.read_ceiling.speed());
  if (ranks != 1) return {};
  report("cpu save", found.save.cpu(), "cpu s/GB", cpu_aim);
  report("cpu load", found.load.cpu(), "cpu s/GB", cpu_aim);
  report("cpu load all-or-nothing", found.whole_load.cpu(), "cpu s/GB", cpu_aim);
  report("cpu first load all-or-nothing", found.first_whole_load.cpu(), "cpu s/GB", {});
  report("cpu plain write", found.plain.cpu(), "cpu s/GB", {});
  report("async copy", 1 / found.copy.speed(), "s/GB", {});
  report("async stall", 1 / found.stall.speed(), "s/GB", 1 / found.copy.speed());
  report("async first stall", 1 / found.first_stall.speed(), "s/GB", 1 / found.copy.speed());
  report("digest", 100 * (found.plain.speed() / found.save.speed() - 1), "percent", digest_aim);
  return bench_peer(request, found.bytes);
}

/// Four ranks save, three load: bytes read for each byte needed, of everything and of each tensor alone.
Status bench_reshard(const Request& request) {
  const std::string size = "4to3";
  if (!request.wants(size)) return {};
  const Folder folder;
  const auto storage = TRY(backend::PosixStorage::open_root(folder.path()));
  const std::vector<Tensor> all = tensors(request.quick);
  {
    std::vector<RankState> states;
    for (int r = 0; r < 4; ++r) states.emplace_back(all, over_all(4), Rank{r});
    Job job(*storage, 4);
    TRY(save_all(job, states, 1));
  }
  const auto load = [&](std::string name, const std::vector<Tensor>& some) -> Status {
    std::vector<RankState> states;
    for (int r = 0; r < 3; ++r) states.emplace_back(some, over_all(3), Rank{r});
    Job job(*storage, 3);
    std::vector<protocol::Volume> volumes(3);
    TRY(load_all(job, states, volumes, protocol::LoadMode::streamed, false));
    protocol::Volume sum;
    for (const protocol::Volume& volume : volumes) {
      sum.bytes_needed += volume.bytes_needed;
      sum.bytes_read += volume.bytes_read;
    }
    request.report({std::move(name), static_cast<double>(sum.bytes_read) / static_cast<double>(sum.bytes_needed), "read/needed", 1.0,
                    sum.bytes_needed, dtypes});
    return {};
  };
  TRY(load("reshard 4to3", all));
  for (const Tensor& tensor : all) TRY(load(fmt::format("reshard 4to3 {}", tensor.name), {tensor}));
  return {};
}

}  // namespace

Status bench_io(const Request& request) {
  for (const int ranks : {1, 2}) TRY(bench_save_load(request, ranks));
  TRY(bench_reshard(request));
  return bench_shared_reads(request);
}

}  // namespace holdfast::bench
