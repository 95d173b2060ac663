// A program for ThreadSanitizer builds. `clean`: two tasks that hand memory over through doors: no report. `planted`: two tasks of one rank
// that write one variable between door calls: "data race" must be reported, whatever the schedule.
#include <cstdio>
#include <cstring>
#include <string_view>

#include "sim/run.h"
#include "tests/sim/doors.h"

using namespace holdfast;
using namespace std::chrono_literals;

using sim::must;

namespace {

int shared_counter;

void count_twice(const port::Env& env) {
  for (int i = 0; i < 2; ++i) {
    env.clock.sleep_until(env.clock.now() + 1us);
    ++shared_counter;
  }
}

/// Spawn, join, a file, a message and a device copy: each hands plain memory over.
void hand_over(const port::Env& env, Rank rank) {
  const port::Deadline deadline = env.clock.after(60s);
  Bytes filled;
  const port::TaskId task = env.tasks.spawn("fill", [&filled] { filled.assign(5000, std::byte{7}); }).value();
  must(env.tasks.join(task, deadline));
  const std::string path = fmt::format("f{}", rank);
  const port::FileId file = env.storage.create(path, deadline).value();
  const port::WritePiece piece{0, filled, std::make_shared<int>(0)};
  must(env.storage.write_all(file, {&piece, 1}, deadline));
  must(env.storage.close(file));
  filled.assign(5000, std::byte{8});
  const port::StreamId stream = env.device.create_stream().value();
  const port::Buffer staging = env.device.allocate_staging(filled.size()).value();
  must(env.device.copy_out(packed_block(filled.data(), {5000}, 1), staging.bytes, staging.owner, stream));
  const port::EventId event = env.device.record(stream).value();
  must(env.device.synchronize(event, deadline));
  filled.clear();
  const Rank peer{1 - rank.value};
  must(env.net.send(peer, {1, 1}, to_bytes(staging.bytes), deadline));
  const SharedBytes received = env.net.receive(peer, {1, 1}, deadline).value();
  if (received.view()[4999] != std::byte{8}) std::puts("wrong bytes");
  env.device.destroy_event(event);
  env.device.destroy_stream(stream);
}

void race(const port::Env& env) {
  const port::TaskId a = env.tasks.spawn("a", [&env] { count_twice(env); }).value();
  const port::TaskId b = env.tasks.spawn("b", [&env] { count_twice(env); }).value();
  must(env.tasks.join(a, env.clock.after(1s)));
  must(env.tasks.join(b, env.clock.after(1s)));
}

}  // namespace

int main(int argc, char** argv) {
  const bool planted = argc > 1 && std::string_view(argv[1]) == "planted";
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    sim::Disk disk;
    sim::Scenario scenario{.name = "race", .world_size = 2, .seed = seed};
    const sim::Trace trace = sim::run(scenario, disk, [&](const port::Env& env, Rank rank) {
      hand_over(env, rank);
      if (planted && rank.value == 0) race(env);
    });
    if (!trace.all_returned() || !trace.leaks.empty()) {
      std::printf("seed %llu: a rank did not return or leaked\n", static_cast<unsigned long long>(seed));
      return 1;
    }
  }
  return 0;
}
