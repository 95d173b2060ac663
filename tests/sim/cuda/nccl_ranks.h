// Ranks of the simulator whose data plane is our NCCL code on the simulated NCCL, for tests.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "impl/backend/nccl/data_plane.h"
#include "properties/simgpu/rank_doors.h"
#include "sim/cuda/nccl.h"
#include "sim/run.h"
#include "tests/sim/doors.h"

namespace holdfast::testing_cuda {

/// What a rank has: its doors, and its process's context for what is made to fail.
struct NcclRank {
  const port::Env& env;
  Rank rank;
  sim::cuda::Context& context;
};

/// Kills the process of a rank before one of its calls of a door.
class Killer final : public sim::Interceptor {
 public:
  Killer(sim::Site site, std::vector<sim::cuda::Context>& contexts) : site_(site), contexts_(contexts) {}
  void before(const sim::SiteRecord& record) override {
    if (record.site != site_) return;
    sim::cuda::kill_process(contexts_[static_cast<std::size_t>(site_.rank.value)], site_.rank.value);
    killed = true;
  }
  bool killed = false;

 private:
  sim::Site site_;
  std::vector<sim::cuda::Context>& contexts_;
};

/// What is wrong after a run of `rank_main` on every rank, a line each: ranks that threw, what the simulator and the simulated runtime found.
/// `kill`: where the process of a rank ends; it is forgotten when there was no such call.
inline std::string run_nccl(
    int world_size, std::uint64_t seed, const std::function<void(const NcclRank&)>& rank_main, const std::function<void()>& prepare = [] {},
    std::optional<sim::Site>* kill = nullptr) {
  sim::cuda::reset(seed);
  sim::cuda::set_device_count(world_size);
  prepare();
  std::vector<sim::cuda::Context> contexts(static_cast<std::size_t>(world_size));
  sim::Disk disk;
  sim::Scenario scenario{.name = "nccl", .world_size = world_size, .seed = seed};
  Killer killer(kill ? **kill : sim::Site{{-1}, 0}, contexts);
  scenario.interceptor = &killer;
  if (kill) scenario.faults = {{.site = **kill, .kind = sim::FaultKind::kill_rank}};
  const sim::Trace trace = sim::run(scenario, disk, [&](const port::Env& env, Rank rank) {
    sim::cuda::Context& context = contexts[static_cast<std::size_t>(rank.value)];
    const auto doors = sim::must(properties::RankDoors::open(env, rank.value, world_size, context));
    const port::Env in_context = doors->env();
    rank_main({in_context, rank, context});
    sim::must(doors->close(env.clock.after(std::chrono::seconds(60))));
  });
  std::vector<std::string> lines = sim::cuda::report();
  for (std::size_t r = 0; r < trace.ends.size(); ++r) {
    const bool expected = killer.killed && Rank{static_cast<std::int32_t>(r)} == (*kill)->rank && trace.ends[r].how == sim::RankEnd::killed;
    if (trace.ends[r].how != sim::RankEnd::returned && !expected) lines.push_back(fmt::format("rank {}: {}", r, trace.ends[r].what));
  }
  for (const sim::Leak& leak : trace.leaks) lines.push_back(to_string(leak));
  for (const std::string& misuse : trace.misuse) lines.push_back(misuse);
  if (!trace.harness_error.empty()) lines.push_back(trace.harness_error);
  if (!trace.deadlock.empty()) lines.push_back("deadlock: " + trace.deadlock);
  if (kill && !killer.killed) kill->reset();
  return fmt::format("{}", fmt::join(lines, "\n"));
}

/// Device memory that the host fills and reads.
class OnDevice {
 public:
  OnDevice(const port::Env& env, ByteView content)
      : env_(env), bytes_(content.size()), buffer_(sim::must(env.device.allocate_device(bytes_))) {
    const port::Buffer staging = sim::must(env.device.allocate_staging(bytes_));
    std::ranges::copy(content, staging.bytes.begin());
    queued([&](port::StreamId stream) { return env.device.copy_in(staging.bytes, staging.owner, block(), stream); });
  }
  port::Transfer with(Rank peer) const { return {peer, buffer_.bytes, MemoryKind::device}; }
  Bytes read() const {
    const port::Buffer staging = sim::must(env_.device.allocate_staging(bytes_));
    queued([&](port::StreamId stream) { return env_.device.copy_out(block(), staging.bytes, staging.owner, stream); });
    return to_bytes(staging.bytes);
  }

 private:
  StridedBlock block() const { return packed_block(buffer_.bytes.data(), {static_cast<std::int64_t>(bytes_)}, 1, MemoryKind::device); }
  template <typename Work>
  void queued(Work work) const {
    const port::StreamId stream = sim::must(env_.device.create_stream());
    sim::must(work(stream));
    const port::EventId event = sim::must(env_.device.record(stream));
    sim::must(env_.device.synchronize(event, env_.clock.after(std::chrono::seconds(10))));
    env_.device.destroy_event(event);
    env_.device.destroy_stream(stream);
  }

  const port::Env& env_;
  std::size_t bytes_;
  port::Buffer buffer_;
};

inline Bytes pattern(Rank rank) { return Bytes(5000, std::byte(static_cast<std::uint8_t>(rank.value + 1))); }

/// Sends and receives 5000 bytes with every other rank.
inline Status with_all(const NcclRank& at, std::uint64_t sequence, port::Duration time = std::chrono::seconds(10)) {
  const port::Env& env = at.env;
  const Rank self = env.net.rank();
  const OnDevice own(env, pattern(self));
  std::vector<OnDevice> received;
  std::vector<port::Transfer> sends, receives;
  for (int peer = 0; peer < env.net.world_size(); ++peer) {
    if (Rank{peer} == self) continue;
    sends.push_back(own.with(Rank{peer}));
    receives.push_back(received.emplace_back(env, Bytes(5000)).with(Rank{peer}));
  }
  TRY(env.data.exchange("all", sequence, sends, receives, env.clock.after(time)));
  for (std::size_t i = 0; i < received.size(); ++i) {
    if (received[i].read() != pattern(receives[i].peer)) throw std::runtime_error(fmt::format("wrong bytes from {}", receives[i].peer));
  }
  return {};
}

/// Throws what came instead.
inline void expect(bool held, const Status& status) {
  if (!held) throw std::runtime_error(status ? "it succeeded" : fmt::format("{}", status.error()));
}

}  // namespace holdfast::testing_cuda
