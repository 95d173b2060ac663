// Each fault kind at each door does what FAULTS.md says.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "sim/run.h"
#include "tests/sim/doors.h"

namespace holdfast::sim {
namespace {

using namespace std::chrono_literals;

/// The site of the first call of `op` in the scenario's fault-free run.
Site site_of(const Scenario& scenario, const Disk& before, const RankMain& rank_main, std::string_view op) {
  Scenario dry = scenario;
  dry.record_events = true;
  Disk disk = before;
  const Trace trace = run(dry, disk, rank_main);
  for (const SiteRecord& site : trace.sites) {
    if (site.op == op) return site.site;
  }
  ADD_FAILURE() << "no call of " << op;
  return {};
}

struct Outcome {
  Trace trace;
  Disk disk;
};

Outcome run_with(std::string_view op, Fault fault, const RankMain& rank_main, int world_size = 1, const Disk& before = {}) {
  Scenario scenario{.name = "fault", .world_size = world_size, .random_latency = false};
  fault.site = site_of(scenario, before, rank_main, op);
  scenario.faults = {fault};
  Outcome outcome{{}, before};
  outcome.trace = run(scenario, outcome.disk, rank_main);
  EXPECT_EQ(outcome.trace.fired, std::vector<Fault>{fault}) << op << " " << to_string(fault.kind);
  return outcome;
}

Disk with_file(std::string_view text) {
  Disk disk;
  disk.write_file("old", as_bytes(text));
  return disk;
}

/// Everything that a Status-returning call of Storage can do to "old", by name of the operation.
const std::map<std::string, std::function<Status(const port::Env&)>>& changes() {
  const auto deadline = [](const port::Env& env) { return env.clock.after(5s); };
  static const std::map<std::string, std::function<Status(const port::Env&)>> all = {
      {"storage.make_directory", [=](const port::Env& env) { return env.storage.make_directory("d", deadline(env)); }},
      {"storage.create",
       [=](const port::Env& env) -> Status {
         const port::FileId file = TRY(env.storage.create("new", deadline(env)));
         return env.storage.close(file);
       }},
      {"storage.rename", [=](const port::Env& env) { return env.storage.rename("old", "new", deadline(env)); }},
      {"storage.link", [=](const port::Env& env) { return env.storage.link_if_absent("old", "new", deadline(env)); }},
      {"storage.remove", [=](const port::Env& env) { return env.storage.remove("old", deadline(env)); }},
  };
  return all;
}

TEST(Fault, ErrorBeforeLeavesTheStorageAsItWas) {
  for (const auto& [op, change] : changes()) {
    Status result;
    const Outcome outcome = run_with(
        op, {.kind = FaultKind::error_before, .error = ErrorCode::no_space}, [&](const port::Env& env, Rank) { result = change(env); }, 1,
        with_file("text"));
    ASSERT_FALSE(result) << op;
    EXPECT_EQ(result.error().code, ErrorCode::no_space) << op;
    EXPECT_NE(result.error().message.find("injected error_before"), std::string::npos) << result.error().message;
    EXPECT_EQ(outcome.disk.hash(), with_file("text").hash()) << op;
    EXPECT_TRUE(outcome.trace.leaks.empty()) << op;
  }
}

TEST(Fault, ErrorAfterHasItsEffectAndLeaksNothing) {
  for (const auto& [op, change] : changes()) {
    Status result;
    const Outcome outcome =
        run_with(op, {.kind = FaultKind::error_after}, [&](const port::Env& env, Rank) { result = change(env); }, 1, with_file("text"));
    ASSERT_FALSE(result) << op;
    EXPECT_EQ(result.error().code, ErrorCode::io_error) << op;
    EXPECT_NE(outcome.disk.hash(), with_file("text").hash()) << op;
    EXPECT_TRUE(outcome.trace.leaks.empty()) << op;
  }
}

TEST(Fault, DelayPastTheDeadlineIsATimeoutWhoseEffectComesLater) {
  for (const auto& [op, change] : changes()) {
    Status result;
    port::TimePoint returned;
    std::uint64_t at_return = 0;
    Disk* live = nullptr;
    Scenario scenario{.name = "delay", .random_latency = false};
    const RankMain rank_main = [&](const port::Env& env, Rank) {
      result = change(env);
      returned = env.clock.now();
      if (live) at_return = live->hash();
      env.clock.sleep_until(env.clock.now() + 60s);
    };
    scenario.faults = {{.site = site_of(scenario, with_file("text"), rank_main, op), .kind = FaultKind::delay, .delay = 30s}};
    Disk disk = with_file("text");
    live = &disk;
    const Trace trace = run(scenario, disk, rank_main);
    ASSERT_FALSE(result) << op;
    EXPECT_EQ(result.error().code, ErrorCode::timeout) << op;
    EXPECT_EQ(returned, port::TimePoint(5s)) << op;
    EXPECT_EQ(at_return, with_file("text").hash()) << op;
    EXPECT_NE(disk.hash(), with_file("text").hash()) << op;
    EXPECT_TRUE(trace.leaks.empty()) << op;
  }
}

TEST(Fault, DelayWithinTheDeadlineOnlyTakesTime) {
  for (const auto& [op, change] : changes()) {
    Status result;
    const Outcome outcome = run_with(
        op, {.kind = FaultKind::delay, .delay = 3s}, [&](const port::Env& env, Rank) { result = change(env); }, 1, with_file("text"));
    EXPECT_TRUE(result) << op;
    EXPECT_EQ(outcome.trace.virtual_ns, 3'000'000'000) << op;
  }
}

TEST(Fault, HangIsATimeoutWithoutEffect) {
  for (const auto& [op, change] : changes()) {
    Status result;
    const Outcome outcome = run_with(
        op, {.kind = FaultKind::hang},
        [&](const port::Env& env, Rank) {
          result = change(env);
          env.clock.sleep_until(env.clock.now() + 60s);
        },
        1, with_file("text"));
    ASSERT_FALSE(result) << op;
    EXPECT_EQ(result.error().code, ErrorCode::timeout) << op;
    EXPECT_EQ(outcome.disk.hash(), with_file("text").hash()) << op;
  }
}

TEST(Fault, AFailedSyncDropsTheBytesAndTheNextOneLies) {
  Status first;
  Status second;
  const RankMain rank_main = [&](const port::Env& env, Rank) {
    const port::Deadline deadline = env.clock.after(5s);
    const port::FileId file = env.storage.create("a", deadline).value();
    const port::WritePiece text = piece("text");
    must(env.storage.write_all(file, {&text, 1}, deadline));
    first = env.storage.sync(file, deadline);
    second = env.storage.sync(file, deadline);
    must(env.storage.close(file));
    must(env.storage.sync_directory("", deadline));
  };
  const Outcome refused = run_with("storage.sync", {.kind = FaultKind::error_before}, rank_main);
  EXPECT_FALSE(first);
  EXPECT_TRUE(second);
  EXPECT_EQ(as_text(refused.disk.read_file("a").value()), "text");
  for (const Disk& state : refused.disk.crash_states(PersistenceModel::strict, 16)) EXPECT_TRUE(state.read_file("a").value().empty());
  const Outcome after = run_with("storage.sync", {.kind = FaultKind::error_after}, rank_main);
  EXPECT_FALSE(first);
  for (const Disk& state : after.disk.crash_states(PersistenceModel::weak, 16)) EXPECT_EQ(as_text(state.read_file("a").value()), "text");
}

TEST(Fault, AFailedPieceLeavesTheEarlierOnesWritten) {
  const RankMain rank_main = [&](const port::Env& env, Rank) {
    const port::Deadline deadline = env.clock.after(5s);
    const port::FileId file = env.storage.create("a", deadline).value();
    const port::WritePiece pieces[] = {piece("one"), piece("two", 3), piece("three", 6)};
    EXPECT_FALSE(env.storage.write_all(file, pieces, deadline));
    EXPECT_TRUE(env.storage.close(file));
  };
  Disk disk;
  const Scenario scenario{.name = "pieces", .faults = {{.site = {{0}, 2}}}, .random_latency = false};
  const Trace trace = run(scenario, disk, rank_main);
  EXPECT_EQ(trace.fired.size(), 1u);
  EXPECT_EQ(as_text(disk.read_file("a").value()), "one");
}

TEST(Fault, ABitFlipsInWhatIsReadOrStored) {
  for (const char* op : {"storage.write", "storage.read"}) {
    Scenario scenario{.name = "flip", .seed = 5};
    Result<std::string> loaded;
    const RankMain rank_main = [&](const port::Env& env, Rank) {
      store(env, "a", "text");
      loaded = try_load(env, "a");
    };
    scenario.faults = {{.site = site_of(scenario, {}, rank_main, op), .kind = FaultKind::bit_flip}};
    Disk disk;
    const Trace trace = run(scenario, disk, rank_main);
    ASSERT_EQ(trace.fired.size(), 1u);
    int flipped = 0;
    for (std::size_t i = 0; i < 4; ++i) flipped += std::popcount(static_cast<unsigned char>((*loaded)[i] ^ "text"[i]));
    EXPECT_EQ(flipped, 1) << op;
    const bool is_stored = std::string_view(op) == "storage.write";
    disk.settle();
    EXPECT_EQ(as_text(disk.read_file("a").value()), is_stored ? *loaded : "text");
  }
}

/// Rank 0 sends, rank 1 receives; what each got.
struct Ends {
  Status sent;
  Result<SharedBytes> received;
};
RankMain one_message(Ends& ends) {
  return [&ends](const port::Env& env, Rank rank) {
    if (rank.value == 0) {
      ends.sent = env.net.send({1}, {1, 1}, to_bytes(as_bytes("hello")), env.clock.after(5s));
      env.clock.sleep_until(env.clock.now() + 100s);
    } else {
      ends.received = env.net.receive({0}, {1, 1}, env.clock.after(10s));
    }
  };
}

TEST(Fault, ASendThatFailedMayHaveBeenDelivered) {
  Ends ends;
  run_with("net.send", {.kind = FaultKind::error_before, .error = ErrorCode::peer_lost}, one_message(ends), 2);
  EXPECT_EQ(ends.sent.error().code, ErrorCode::peer_lost);
  EXPECT_EQ(ends.received.error().code, ErrorCode::timeout);
  run_with("net.send", {.kind = FaultKind::error_after}, one_message(ends), 2);
  EXPECT_FALSE(ends.sent);
  EXPECT_EQ(as_text(ends.received.value().view()), "hello");
  run_with("net.send", {.kind = FaultKind::delay, .delay = 7s}, one_message(ends), 2);
  EXPECT_EQ(ends.sent.error().code, ErrorCode::timeout);
  EXPECT_EQ(as_text(ends.received.value().view()), "hello");
  run_with("net.send", {.kind = FaultKind::hang}, one_message(ends), 2);
  EXPECT_EQ(ends.sent.error().code, ErrorCode::timeout);
  EXPECT_EQ(ends.received.error().code, ErrorCode::timeout);
}

TEST(Fault, AReceiveThatFailedMayHaveConsumedTheMessage) {
  Ends ends;
  Result<SharedBytes> again;
  const RankMain twice = [&](const port::Env& env, Rank rank) {
    one_message(ends)(env, rank);
    if (rank.value == 1) again = env.net.receive({0}, {1, 1}, env.clock.after(10s));
  };
  run_with("net.receive", {.kind = FaultKind::error_before}, twice, 2);
  EXPECT_FALSE(ends.received);
  EXPECT_TRUE(again);
  run_with("net.receive", {.kind = FaultKind::error_after}, twice, 2);
  EXPECT_FALSE(ends.received);
  EXPECT_EQ(again.error().code, ErrorCode::timeout);
  run_with("net.receive", {.kind = FaultKind::hang}, twice, 2);
  EXPECT_EQ(ends.received.error().code, ErrorCode::timeout);
  EXPECT_TRUE(again);
}

TEST(Fault, AnExchangeFailsOnOneSideAndTheOtherTimesOut) {
  for (const FaultKind kind : {FaultKind::error_before, FaultKind::hang, FaultKind::error_after}) {
    Status results[2];
    const RankMain rank_main = [&](const port::Env& env, Rank rank) {
      Bytes out(8, std::byte{1});
      Bytes in(8);
      const port::Transfer send{{1 - rank.value}, out, MemoryKind::host};
      const port::Transfer receive{{1 - rank.value}, in, MemoryKind::host};
      results[rank.value] = env.data.exchange("x", 1, {&send, 1}, {&receive, 1}, env.clock.after(5s));
      env.clock.sleep_until(env.clock.now() + 100s);
    };
    run_with("data.exchange", {.kind = kind}, rank_main, 2);
    EXPECT_FALSE(results[0]);
    EXPECT_EQ(results[1].has_value(), kind == FaultKind::error_after);
  }
}

TEST(Fault, TheDeviceRefusesAndGivesBackWhatNobodyGot) {
  for (const char* op : {"device.allocate_staging", "device.allocate", "device.create_stream", "device.stage", "device.unstage",
                         "device.record", "device.wait", "device.synchronize", "tasks.spawn"}) {
    for (const FaultKind kind : applicable(op)) {
      if (kind != FaultKind::error_before && kind != FaultKind::error_after) continue;
      Status result;
      const RankMain rank_main = [&](const port::Env& env, Rank) {
        result = [&]() -> Status {
          const port::Buffer staging = TRY(env.device.allocate_staging(8));
          const port::Buffer memory = TRY(env.device.allocate_device(8));
          const port::StreamId stream = TRY(env.device.create_stream());
          const auto give_back = std::shared_ptr<void>(nullptr, [&](void*) { env.device.destroy_stream(stream); });
          const StridedBlock block = packed_block(memory.bytes.data(), {8}, 1, MemoryKind::device);
          TRY(env.device.copy_out(block, staging.bytes, staging.owner, stream));
          TRY(env.device.copy_in(staging.bytes, staging.owner, block, stream));
          const auto digest = std::make_shared<TensorDigest>();
          TRY(env.device.digest(block, whole({8}), {8}, DType::u8, digest.get(), digest, stream));
          const port::EventId event = TRY(env.device.record(stream));
          const auto forget = std::shared_ptr<void>(nullptr, [&](void*) { env.device.destroy_event(event); });
          TRY(env.device.wait(stream, event));
          TRY(env.device.synchronize(event, env.clock.after(5s)));
          env.tasks.detach(TRY(env.tasks.spawn("t", [] {})));
          return {};
        }();
      };
      const Outcome outcome = run_with(op, {.kind = kind, .error = ErrorCode::out_of_memory}, rank_main);
      ASSERT_FALSE(result) << op;
      EXPECT_EQ(result.error().code, ErrorCode::out_of_memory) << op;
      EXPECT_TRUE(outcome.trace.leaks.empty()) << op << " " << to_string(outcome.trace.leaks[0]);
    }
  }
}

TEST(Fault, FiresOnlyWhereItApplies) {
  Disk disk;
  const Scenario scenario{.name = "none", .faults = {{.site = {{0}, 0}, .kind = FaultKind::hang}, {.site = {{0}, 99}}}};
  const Trace trace = run(scenario, disk, [](const port::Env& env, Rank) { must(env.device.create_stream()); });
  EXPECT_TRUE(trace.fired.empty());
  EXPECT_TRUE(trace.all_returned());
  EXPECT_EQ(applicable("device.create_stream").size(), 5u);
  EXPECT_EQ(applicable("storage.read").size(), fault_kinds);
  EXPECT_TRUE(applicable("no.such").empty());
}

}  // namespace
}  // namespace holdfast::sim
