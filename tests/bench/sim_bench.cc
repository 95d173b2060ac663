// Runs a second of the simulator, and what one save costs the coordinator and the process that simulates it.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "impl/core/check.h"
#include "properties/workload/save_workload.h"
#include "sim/campaign.h"
#include "tests/bench/bench.h"

namespace holdfast::bench {
namespace {

constexpr const char* dtypes = "bf16,f32,u8";

/// A rank holds about 2 KiB: six sharded tensors, two replicated ones and a byte value.
properties::gen::StateSpec state_of(int ranks) {
  ChunkLayout sharded;
  for (int r = 0; r < ranks; ++r) sharded.placements.push_back(Rank{r});
  properties::gen::StateSpec spec;
  spec.world_size = ranks;
  for (const char* name : {"attention.wk", "attention.wo", "attention.wq", "attention.wv", "feed_forward.w1", "feed_forward.w2"}) {
    const DType dtype = spec.tensors.size() < 4 ? DType::bf16 : DType::f32;
    spec.tensors.push_back(
        {.name = fmt::format("layers.0.{}", name), .dtype = dtype, .shape = {std::int64_t{8} * ranks, 16}, .layout = sharded});
  }
  spec.tensors.push_back({.name = "layers.0.norm", .dtype = DType::bf16, .shape = {64}, .layout = ReplicatedLayout{}});
  spec.tensors.push_back({.name = "optimizer.scale", .dtype = DType::f32, .shape = {16}, .layout = ReplicatedLayout{}});
  spec.values.push_back({.name = "scheduler", .bytes = 100});
  return spec;
}

/// Every kind of fault at every door call of the fault-free story, spread so that the first few already lie all over it.
class Faults {
 public:
  Faults(sim::Workload& workload, const sim::Disk& prepared) {
    for (const sim::SiteInStep& site : sim::enumerate_sites(workload, prepared)) {
      for (const sim::FaultKind kind : sim::applicable(site.site.op)) {
        all_.push_back({site.site.site, kind, ErrorCode::io_error, std::chrono::milliseconds(5)});
      }
    }
    stride_ = static_cast<std::size_t>(static_cast<double>(all_.size()) * 0.618);
    while (std::gcd(stride_, all_.size()) != 1) ++stride_;
  }
  const sim::Fault& operator[](std::size_t i) const { return all_[i * stride_ % all_.size()]; }

 private:
  std::vector<sim::Fault> all_;
  std::size_t stride_ = 1;
};

struct Runs {
  double wall_rate = 0, cpu_rate = 0, events = 0, door_calls = 0;
  std::uint64_t hash = 0;
};

Result<Runs> measure(sim::Workload& workload, const sim::Disk& prepared, const Faults& faults, std::size_t runs) {
  Runs sum;
  const Stopwatch watch;
  for (std::size_t i = 0; i < runs; ++i) {
    sim::Case test;
    test.scenario.random_latency = false;
    test.scenario.seed = i;
    test.scenario.faults = {faults[i]};
    const sim::CaseResult result = sim::run_case(workload, test, prepared);
    if (!result.verdict.empty()) {
      return fail(ErrorCode::corrupt, "run {}: {}: {}", i, result.verdict.front().property, result.verdict.front().message);
    }
    sum.hash = std::rotl(sum.hash, 1) ^ result.hash;
    sum.events += static_cast<double>(result.act.events + result.recovery.events);
    sum.door_calls += static_cast<double>(result.act.door_calls + result.recovery.door_calls);
  }
  const auto n = static_cast<double>(runs);
  return Runs{n / watch.wall(), n / watch.cpu(), sum.events / n, sum.door_calls / n, sum.hash};
}

/// A save over an existing checkpoint, one fault, recover, load, compare. All on this thread.
Status bench_runs(const Request& request, int ranks, std::size_t runs, double aim) {
  const std::string where = fmt::format("ranks={}", ranks);
  if (!request.wants(where)) return {};
  const properties::gen::StateSpec spec = state_of(ranks);
  const std::uint64_t bytes = logical_bytes(spec);
  properties::SaveWorkload workload(spec, {.name = "bench", .coordinator = Rank{0}, .save_again = false});
  const sim::Disk prepared = workload.prepare();
  const Faults faults(workload, prepared);
  const int repeats = request.quick ? 1 : 5;
  if (request.quick) runs = 2;
  const Runs warm_up = TRY(measure(workload, prepared, faults, runs));
  std::vector<double> wall, cpu;
  Runs each;
  for (int i = 0; i < repeats; ++i) {
    each = TRY(measure(workload, prepared, faults, runs));
    if (each.hash != warm_up.hash) return fail(ErrorCode::corrupt, "runs {}: the same runs had other events the second time", where);
    wall.push_back(each.wall_rate);
    cpu.push_back(each.cpu_rate);
  }
  request.report({"runs " + where, median(wall), "runs/s", aim, bytes, dtypes});
  request.report({"cpu rate " + where, median(cpu), "runs/cpu s", aim, bytes, dtypes});
  request.report({"events " + where, each.events, "events/run", {}, bytes, dtypes});
  request.report({"door calls " + where, each.door_calls, "calls/run", {}, bytes, dtypes});
  return {};
}

struct SaveCost {
  std::uint64_t coordinator_bytes = 0;
  std::uint64_t rounds = 0;
  std::uint64_t peak_bytes = 0;
};

std::uint64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

/// The peak is above what the process held before the save, its ranks' tensors included: staging, messages, plans and stacks of all ranks, and
/// the simulated disk with all that was written.
SaveCost save_once(int ranks) {
  const properties::gen::StateSpec spec = state_of(ranks);
  const properties::gen::WholeValues values = make_values(spec, 1);
  std::vector<properties::gen::RankState> states;
  for (int r = 0; r < ranks; ++r) states.push_back(make_state(spec, Rank{r}, values));
  SaveCost cost;
  const std::uint64_t before = peak_resident_bytes();
  sim::Disk disk;
  const sim::Scenario scenario{.world_size = ranks, .random_latency = false};
  const sim::Trace trace = sim::run(scenario, disk, [&](const port::Env& env, Rank rank) {
    protocol::Session session(env);
    const auto saved = protocol::save(session, states[static_cast<std::size_t>(rank.value)].dict, {.step = Step{1}, .block_bytes = 4096});
    CHECK(saved.has_value(), "save: {}", to_string(saved.error()));
    if (rank == session.comm().coordinator()) cost.rounds = session.comm().traffic().rounds;
  });
  CHECK(trace.all_returned(), "save: {}", trace.deadlock);
  cost.coordinator_bytes = trace.traffic[0].bytes_sent + trace.traffic[0].bytes_received;
  cost.peak_bytes = peak_resident_bytes() - before;
  return cost;
}

/// In a process of its own, whose peak is this save's.
Result<SaveCost> save_apart(int ranks) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return fail(ErrorCode::io_error, "measure a save: no pipe");
  const pid_t child = fork();
  if (child < 0) return fail(ErrorCode::io_error, "measure a save: no process");
  if (child == 0) {
    const SaveCost cost = save_once(ranks);
    _exit(write(ends[1], &cost, sizeof(cost)) == static_cast<ssize_t>(sizeof(cost)) ? 0 : 1);
  }
  close(ends[1]);
  SaveCost cost;
  const bool told = read(ends[0], &cost, sizeof(cost)) == static_cast<ssize_t>(sizeof(cost));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (!told || status != 0) return fail(ErrorCode::aborted, "measure a save of {} ranks: its process ended with status {}", ranks, status);
  return cost;
}

Status bench_save(const Request& request, int ranks) {
  constexpr double rounds_max = 3;
  const std::string where = fmt::format("ranks={}", ranks);
  if (!request.wants(where)) return {};
  const SaveCost cost = TRY(save_apart(ranks));
  const std::uint64_t bytes = logical_bytes(state_of(ranks));
  request.report({"save bytes " + where, static_cast<double>(cost.coordinator_bytes), "bytes", {}, bytes, dtypes});
  request.report({"save rounds " + where, static_cast<double>(cost.rounds), "rounds", rounds_max, bytes, dtypes});
  request.report({"save memory " + where, static_cast<double>(cost.peak_bytes), "bytes", {}, bytes, dtypes});
  return {};
}

}  // namespace

Status bench_sim(const Request& request) {
  // The saves come first: their processes start with what this one holds, and the runs leave memory to be used again.
  for (const int ranks : {64, 1024, 16384}) TRY(bench_save(request, ranks));
  TRY(bench_runs(request, 4, 1000, 2000));
  TRY(bench_runs(request, 64, 30, 30));
  return bench_runs(request, 1024, 4, 1);
}

}  // namespace holdfast::bench
