// What the simulated device and exchange show that the real ones hide.
#include <gtest/gtest.h>

#include <set>

#include "sim/run.h"
#include "tests/sim/doors.h"

namespace holdfast::sim {
namespace {

using namespace std::chrono_literals;

/// Copies "new" out, changes the source to "bad" and looks at the staging memory, with or without waiting for the copy.
std::string snapshot(std::uint64_t seed, bool waits_before_change, bool waits_before_look) {
  std::string seen;
  Disk disk;
  const Scenario scenario{.name = "snapshot", .seed = seed, .random_latency = seed != 0};
  const Trace trace = run(scenario, disk, [&](const port::Env& env, Rank) {
    Bytes source = to_bytes(as_bytes("new"));
    const port::Buffer staging = env.device.allocate_staging(3).value();
    const port::StreamId stream = env.device.create_stream().value();
    must(env.device.copy_out(packed_block(source.data(), {3}, 1), staging.bytes, staging.owner, stream));
    const port::EventId event = env.device.record(stream).value();
    const auto wait = [&] { must(env.device.synchronize(event, env.clock.after(1s))); };
    if (waits_before_change) wait();
    std::memcpy(source.data(), "bad", 3);
    if (waits_before_look) wait();
    seen = std::string(as_text(staging.bytes));
    env.device.destroy_event(event);
    env.device.destroy_stream(stream);
  });
  EXPECT_TRUE(trace.all_returned());
  return seen;
}

TEST(Misuse, AMissingWaitShowsUnderSomeScheduleAndNoneWithIt) {
  std::set<std::string> correct;
  std::set<std::string> changes_early;
  std::set<std::string> looks_early;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    correct.insert(snapshot(seed, true, true));
    changes_early.insert(snapshot(seed, false, true));
    looks_early.insert(snapshot(seed, false, false));
  }
  EXPECT_EQ(correct, (std::set<std::string>{"new"}));
  EXPECT_EQ(changes_early, (std::set<std::string>{"new", "bad"}));
  EXPECT_EQ(looks_early, (std::set<std::string>{"new", "\xDB\xDB\xDB"}));
}

TEST(Misuse, AStreamThatDoesNotWaitForAnotherReadsPoison) {
  for (const bool waits : {true, false}) {
    std::set<std::string> seen;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      Disk disk;
      run({.name = "streams", .seed = seed}, disk, [&](const port::Env& env, Rank) {
        Bytes source = to_bytes(as_bytes("x"));
        const port::Buffer middle = env.device.allocate_staging(1).value();
        const port::Buffer last = env.device.allocate_staging(1).value();
        const port::StreamId a = env.device.create_stream().value();
        const port::StreamId b = env.device.create_stream().value();
        must(env.device.copy_out(packed_block(source.data(), {1}, 1), middle.bytes, middle.owner, a));
        const port::EventId copied = env.device.record(a).value();
        if (waits) must(env.device.wait(b, copied));
        must(env.device.copy_out(packed_block(middle.bytes.data(), {1}, 1), last.bytes, last.owner, b));
        const port::EventId done = env.device.record(b).value();
        must(env.device.synchronize(done, env.clock.after(1s)));
        seen.insert(std::string(as_text(last.bytes)));
      });
    }
    EXPECT_EQ(seen, waits ? (std::set<std::string>{"x"}) : (std::set<std::string>{"x", "\xDB"}));
  }
}

TEST(Misuse, NamesACopyIntoABufferThatWasFreed) {
  Disk disk;
  const Trace trace = run({.name = "freed", .random_latency = false}, disk, [](const port::Env& env, Rank) {
    Bytes source(4);
    const port::StreamId stream = env.device.create_stream().value();
    {
      const port::Buffer staging = env.device.allocate_staging(4).value();
      must(env.device.copy_out(packed_block(source.data(), {4}, 1), staging.bytes, nullptr, stream));
    }
    const port::EventId event = env.device.record(stream).value();
    must(env.device.synchronize(event, env.clock.after(1s)));
    env.device.destroy_event(event);
    env.device.destroy_stream(stream);
  });
  EXPECT_EQ(trace.misuse, std::vector<std::string>{"rank 0: device.stage on stream 0 ran after a buffer it uses was freed"});
}

std::vector<std::string> exchange_errors(std::size_t send_bytes, std::size_t receive_bytes, std::uint64_t other_sequence) {
  std::vector<std::string> errors(2);
  Disk disk;
  run({.name = "mismatch", .world_size = 2}, disk, [&](const port::Env& env, Rank rank) {
    Bytes bytes(rank.value == 0 ? send_bytes : receive_bytes);
    const port::Transfer transfer{{1 - rank.value}, bytes, MemoryKind::host};
    const std::span<const port::Transfer> one(&transfer, 1);
    const Status done = rank.value == 0 ? env.data.exchange("load", 4, one, {}, env.clock.after(1s))
                                        : env.data.exchange("load", other_sequence, {}, one, env.clock.after(1s));
    if (!done) errors[static_cast<std::size_t>(rank.value)] = fmt::format("{}", done.error());
    env.clock.sleep_until(env.clock.now() + 10s);
  });
  return errors;
}

TEST(Misuse, NamesBothSidesOfAMismatchedExchange) {
  const std::string sizes = "exchange \"load\" #4: span 0 from rank 0 has 8 bytes, rank 1 receives 9 (invalid_argument)";
  EXPECT_EQ(exchange_errors(8, 9, 4), (std::vector<std::string>{sizes, sizes}));
  EXPECT_EQ(exchange_errors(8, 8, 4), (std::vector<std::string>{"", ""}));
  const std::vector<std::string> elsewhere = exchange_errors(8, 8, 5);
  EXPECT_NE((elsewhere[0] + elsewhere[1]).find("is in exchange \"load\" #"), std::string::npos) << elsewhere[0] << elsewhere[1];
}

}  // namespace
}  // namespace holdfast::sim
