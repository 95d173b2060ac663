// Saves that go on beside the trainer: what is stored are the values of the call, whatever the trainer does next; errors, cancels and handles that are
// dropped are the same on every rank.
#include <algorithm>
#include <deque>

#include "impl/core/mark.h"
#include "impl/protocol/pending_save.h"
#include "properties/device_state.h"
#include "properties/doubles.h"
#include "properties/job.h"
#include "properties/on_ranks.h"
#include "properties/property.h"
#include "properties/slow_device.h"

namespace holdfast::properties {
namespace {

using protocol::Checkpointed;
using protocol::PendingSave;
using protocol::Saved;
using Act = std::function<Wrong(World&, const port::Env&, Rank, const gen::DrawnCase&)>;

constexpr port::Duration patience = std::chrono::seconds(60);

/// Runs `act` on every rank of the saving job; gives what went wrong first.
Wrong on_every_rank(World& world, const gen::DrawnCase& drawn, const Act& act) {
  world.reset();
  return on_ranks(world, drawn.saved.world_size, drawn.seed, [&](const port::Env& env, Rank rank) { return act(world, env, rank, drawn); });
}

/// The trainer's step: every element of every tensor changes, in place.
void train(gen::RankState& state, std::optional<DeviceState>& on_device) {
  for (Bytes& memory : state.memory) {
    for (std::byte& byte : memory) byte = ~byte;
  }
  if (on_device) on_device->upload();
}

/// The trainer's own collective, on its own channel: a ring.
Status talk(const port::Env& env, Rank rank, std::uint64_t turn) {
  const int ranks = env.net.world_size();
  if (ranks == 1) return {};
  const port::Deadline deadline = env.clock.after(patience);
  const port::Tag tag{9, turn};
  TRY(env.net.send(Rank{(rank.value + 1) % ranks}, tag, Bytes(8, std::byte{1}), deadline));
  TRY(env.net.receive(Rank{(rank.value + ranks - 1) % ranks}, tag, deadline));
  return {};
}

/// What `directory` (or the newest) holds, compared with `values`.
Wrong loads(World& world, protocol::Session& session, const gen::StateSpec& spec, Rank rank, const gen::WholeValues& values,
            std::optional<std::string> directory = {}) {
  gen::RankState state = make_destination(spec, rank);
  auto on_device = move_to_device(world, state, session.env());
  const auto loaded = protocol::load(session, state.dict, {.directory = std::move(directory)});
  if (!loaded) return "load: " + to_string(loaded.error());
  if (on_device) on_device->download();
  return difference(state, spec, rank, values);
}

/// Two saves on each other's heels; between them the tensors change, and then their memory goes away.
Wrong stores_the_snapshot(World& world, const port::Env& env, Rank rank, const gen::DrawnCase& drawn) {
  protocol::Session session(env, {.coordinator = drawn.coordinator});
  const bool wait_first = drawn.seed % 2 == 0;
  std::vector<std::string> directories;
  std::vector<PendingSave> pending;
  std::deque<gen::RankState> states;  // what the trainer let go: a save that still read it would store garbage, not crash
  std::deque<std::optional<DeviceState>> on_device;
  for (std::uint64_t turn = 1; turn <= 2; ++turn) {
    gen::RankState& state = states.emplace_back(make_state(drawn.saved, rank, make_values(drawn.saved, drawn.seed + turn)));
    on_device.push_back(move_to_device(world, state, env));
    auto started =
        protocol::async_save(session, state.dict, {.step = Step{static_cast<std::int64_t>(turn)}, .block_bytes = drawn.block_bytes});
    if (!started) return "async_save: " + to_string(started.error());
    train(state, on_device.back());
    if (const Status talked = talk(env, rank, turn); !talked) return fmt::format("the trainer's collective: {}", talked.error());
    pending.push_back(*std::move(started));
    if (wait_first && !pending.back().wait(env.clock.after(patience))) return "the save did not end";
    // The next turn's tensors lie elsewhere, while the save may still be writing.
  }
  for (PendingSave& save : pending) {
    const auto outcome = save.wait(env.clock.after(patience));
    if (!outcome) return "a save did not end";
    if (!*outcome) return "save: " + to_string(outcome->error());
    directories.push_back((*outcome)->directory);
  }
  for (std::uint64_t turn = 1; turn <= 2; ++turn) {
    const gen::WholeValues values = make_values(drawn.saved, drawn.seed + turn);
    if (auto wrong = loads(world, session, drawn.saved, rank, values, directories[turn - 1]))
      return fmt::format("save {}: {}", turn, *wrong);
  }
  MARK("property.async_snapshot");
  return std::nullopt;
}

bool waits(const gen::DrawnCase& drawn, Rank rank) { return (drawn.seed >> (rank.value % 16)) % 2 == 0; }

/// The writing fails on the chosen ranks after the call has returned. Ranks that do not wait for it are named by the next save, exactly.
Wrong tells_errors_later(World& world, const port::Env& env, Rank rank, const gen::DrawnCase& drawn) {
  protocol::Session session(env, {.coordinator = drawn.coordinator});
  gen::RankState state = make_state(drawn.saved, rank, make_values(drawn.saved, drawn.seed));
  const auto on_device = move_to_device(world, state, env);
  const auto ordinary = std::make_shared<protocol::SegmentWriter>(env, session.staging(), protocol::SegmentWriterOptions{Step{1}, 64, {}});
  const FaultyRank fault{rank, {{model::Hook::write_data_async, drawn.chosen}}, &env.tasks};
  auto started = protocol::async_save(session, state.dict, {.step = Step{1}, .writer = std::make_shared<FaultyWriter>(ordinary, fault)});
  if (!started) return "async_save: " + to_string(started.error());
  if (waits(drawn, rank)) {
    const auto outcome = started->wait(env.clock.after(patience));
    if (!outcome || *outcome) return "the save that failed ended well, or not at all";
    if (outcome->error().failures.ranks() != drawn.chosen) return "wait: " + to_string(outcome->error());
  }
  std::vector<Rank> silent;
  for (Rank r{0}; r.value < drawn.saved.world_size; ++r.value) {
    if (!waits(drawn, r)) silent.push_back(r);
  }
  const auto next = protocol::save(session, state.dict, {.step = Step{2}});
  if (silent.empty() != next.has_value())
    return next ? "an error that nobody waited for was forgotten" : "next save: " + to_string(next.error());
  if (!next && next.error().failures.ranks() != silent) return "next save: " + to_string(next.error());
  if (!next) MARK("property.async_error_at_next_call");
  const auto last = protocol::save(session, state.dict, {.step = Step{3}});
  if (!last) return "last save: " + to_string(last.error());
  return loads(world, session, drawn.saved, rank, make_values(drawn.saved, drawn.seed));
}

/// Writes as another does, but is not done before a certain time.
class SlowWriter final : public FaultyWriter {
 public:
  SlowWriter(std::shared_ptr<protocol::StorageWriter> inner, const port::Env& env, port::TimePoint done_at)
      : FaultyWriter(std::move(inner), {}), env_(env), done_at_(done_at) {}
  Result<protocol::Writing> write_data(SavePlan plan, std::shared_ptr<protocol::SavePlanner> planner) override {
    protocol::Writing writing = TRY(FaultyWriter::write_data(std::move(plan), std::move(planner)));
    using Results = std::vector<WriteResult>;
    const auto inner = std::make_shared<port::Future<Results>>(std::move(writing.written));
    writing.written =
        TRY(port::Future<Results>::run(env_.tasks, "write slowly", [env = env_, inner, until = done_at_]() -> Result<Results> {
          env.clock.sleep_until(until);
          return inner->get(env.clock.after(patience));
        }));
    return writing;
  }

 private:
  port::Env env_;
  port::TimePoint done_at_;
};

/// A cancel while every rank still writes: it cannot come too late, and nobody waits for the writing.
Wrong cancels_in_time(World& /*world*/, const port::Env& env, Rank rank, const gen::DrawnCase& drawn) {
  protocol::Session session(env, {.coordinator = drawn.coordinator});
  gen::RankState state = make_state(drawn.saved, rank, make_values(drawn.saved, drawn.seed));
  const auto writes_until = env.clock.now() + std::chrono::seconds(5);
  const auto ordinary = std::make_shared<protocol::SegmentWriter>(env, session.staging(), protocol::SegmentWriterOptions{Step{1}, 64, {}});
  auto started =
      protocol::async_save(session, state.dict, {.step = Step{1}, .writer = std::make_shared<SlowWriter>(ordinary, env, writes_until)});
  if (!started) return "async_save: " + to_string(started.error());
  started->cancel();
  const auto outcome = started->wait(env.clock.after(patience));
  if (!outcome || *outcome) return "a save that every rank gave up while it was written ended well, or not at all";
  if (outcome->error().failures.ranks().size() != static_cast<std::size_t>(drawn.saved.world_size))
    return "wait: " + to_string(outcome->error());
  if (env.clock.now() >= writes_until) return "the cancel waited for what was being written";
  env.clock.sleep_until(writes_until + std::chrono::seconds(1));
  return std::nullopt;
}

/// Some ranks give the save up: every rank hears the same, and only they are named.
Wrong cancels_together(World& world, const port::Env& env, Rank rank, const gen::DrawnCase& drawn) {
  protocol::Session session(env, {.coordinator = drawn.coordinator});
  const gen::WholeValues values = make_values(drawn.saved, drawn.seed);
  gen::RankState state = make_state(drawn.saved, rank, values);
  const auto on_device = move_to_device(world, state, env);
  auto started = protocol::async_save(session, state.dict, {.step = Step{1}});
  if (!started) return "async_save: " + to_string(started.error());
  if (std::ranges::binary_search(drawn.chosen, rank)) {
    if (drawn.seed % 2 == 1) env.clock.sleep_until(env.clock.now() + std::chrono::microseconds(drawn.seed % 2000));
    started->cancel();
  }
  const auto outcome = started->wait(env.clock.after(patience));
  if (!outcome) return "the cancelled save did not end";
  if (!*outcome) {
    const std::vector<Rank> failed = outcome->error().failures.ranks();
    if (failed.empty() || !std::ranges::includes(drawn.chosen, failed)) return "wait: " + to_string(outcome->error());
    if (outcome->error().outcome != Outcome::failed) return "a cancelled save must be known to have failed";
  } else if (auto wrong = loads(world, session, drawn.saved, rank, values)) {
    return "the cancel came too late, but " + *wrong;
  }
  const auto next = protocol::save(session, state.dict, {.step = Step{2}});
  if (!next) return "next save: " + to_string(next.error());
  return loads(world, session, drawn.saved, rank, values);
}

/// A snapshot that the device does not come to read in time: the save fails, the trainer's tensors are free all the same, and what is read stays until then.
Wrong outlives_the_save(const port::Env& env, Rank rank, const gen::DrawnCase& drawn, std::unique_ptr<SlowDevice>& slow) {
  gen::RankState state = make_state(drawn.saved, rank, make_values(drawn.saved, drawn.seed));
  const DeviceState on_device(state, env);
  const port::TimePoint started = env.clock.now();
  slow = std::make_unique<SlowDevice>(env.device, env.clock, started + std::chrono::seconds(15), 1);
  port::Env slowly{env.net, env.data, env.storage, *slow, env.clock, env.tasks, env.observer};
  protocol::Session session(slowly, {.coordinator = drawn.coordinator});
  auto pending = protocol::async_save(session, state.dict,
                                      {.step = Step{1}, .deadline = std::chrono::seconds(8), .snapshot = protocol::Snapshot::device});
  if (!pending) return "async_save: " + to_string(pending.error());
  Wrong wrong;
  if (env.clock.now() >= started + std::chrono::seconds(8)) wrong = "the call waited for a device that only stages";
  const auto outcome = pending->wait(env.clock.after(patience));
  if (!outcome) wrong = "the save did not end";
  const bool slept = slow->busy();
  if (slept && outcome && *outcome) wrong = "a save of which nothing was staged is committed";
  if (!session.unfinished().empty()) wrong = "the device reads nothing of the trainer's, and the session says that it does";
  env.clock.sleep_until(started + std::chrono::seconds(20));
  if (slow->lost_memory()) wrong = "a snapshot was freed while the device still read it";
  slow->end();
  if (slept) MARK("property.snapshot_outlived_the_save");
  return wrong;
}

/// Saves or loads with a device that comes to its end some time before or after the call's deadline. Returns what the call left behind.
Wrong lets_go(const port::Env& env, Rank rank, const gen::DrawnCase& drawn, std::unique_ptr<SlowDevice>& slow) {
  constexpr port::Duration patience_with_device = std::chrono::seconds(8);
  Draw draw(drawn.seed + static_cast<std::uint64_t>(rank.value));
  gen::RankState state = make_state(drawn.saved, rank, make_values(drawn.saved, drawn.seed));
  const std::uint64_t call = drawn.seed % 3;
  if (call == 2) {
    protocol::Session session(env, {.coordinator = drawn.coordinator});
    if (const auto saved = protocol::save(session, state.dict, {.step = Step{1}}); !saved) return "save: " + to_string(saved.error());
  }
  const port::TimePoint started = env.clock.now();
  slow = std::make_unique<SlowDevice>(env.device, env.clock, started + std::chrono::milliseconds(draw.below(12'000)));
  port::Env slowly{env.net, env.data, env.storage, *slow, env.clock, env.tasks, env.observer};
  protocol::Session session(slowly, {.coordinator = drawn.coordinator});
  std::optional<PendingSave> pending;
  bool failed = false;
  if (call == 0) {
    failed = !protocol::save(session, state.dict, {.step = Step{2}, .deadline = patience_with_device}).has_value();
  } else if (call == 1) {
    auto begun = protocol::async_save(session, state.dict, {.step = Step{2}, .deadline = patience_with_device});
    if (begun) pending = *std::move(begun);
    failed = !pending;
  } else {
    state = make_destination(drawn.saved, rank);
    failed = !protocol::load(session, state.dict, {.deadline = patience_with_device}).has_value();
  }
  const port::TimePoint end = started + patience_with_device;
  const bool at_deadline = env.clock.now() >= end;
  const bool unfinished = !session.unfinished().empty();
  Wrong wrong;
  if (slow->busy() && !at_deadline) wrong = "the call came back before its deadline while the device still used the tensors";
  if (slow->busy() && !unfinished && (failed || pending)) wrong = "the device still uses the tensors, and the session does not know";
  if (slow->free_at() < end && unfinished) wrong = "the device let go of the tensors in time, and the session says that it did not";
  if (env.clock.now() > end + std::chrono::seconds(1)) wrong = "the call came back long after its deadline";
  if (slow->busy()) MARK("property.device_outlived_the_call");
  if (pending && !pending->wait(env.clock.after(patience))) wrong = "the save did not end";
  env.clock.sleep_until(started + std::chrono::seconds(20));  // the trainer keeps its tensors until the device has let go of them
  slow->end();
  return wrong;
}

Wrong every_rank_lets_go(World& world, const gen::DrawnCase& drawn) {
  std::vector<std::unique_ptr<SlowDevice>> slow(static_cast<std::size_t>(drawn.saved.world_size));  // outlives the tasks of a call
  return on_every_rank(world, drawn, [&](World&, const port::Env& env, Rank rank, const gen::DrawnCase& of) {
    auto& mine = slow[static_cast<std::size_t>(rank.value)];
    return of.seed % 4 == 3 ? outlives_the_save(env, rank, of, mine) : lets_go(env, rank, of, mine);
  });
}

Property property(std::string id, std::string invariants, std::string statement, Act act, std::vector<std::string> marks) {
  return {std::move(id),
          std::move(invariants),
          std::move(statement),
          in_every_world(),
          [act = std::move(act)](World& world, const gen::DrawOptions& options) {
            return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return on_every_rank(world, drawn, act); });
          },
          std::move(marks)};
}

}  // namespace

std::vector<Property> async_properties() {
  return {
      property("async-snapshot", "S6 L1 L4",
               "An asynchronous save stores the values of the moment of the call, though the trainer changes and frees them at once and "
               "talks meanwhile.",
               stores_the_snapshot, {"property.async_snapshot"}),
      property(
          "async-errors", "A1 A3 L1 L2",
          "An error of an asynchronous save is told by wait, or else by the next call, naming exactly the ranks that have not heard of it.",
          tells_errors_later, {"property.async_error_at_next_call", "settle.unobserved_error"}),
      property("async-cancel", "S5 A1 L1 L2",
               "A save that some ranks cancel fails on every rank, naming only them, or it was too late and it is committed.",
               cancels_together, {"save.cancelled"}),
      {"async-cancel-in-time",
       "S5 A1 L1",
       "A save that every rank cancels while it is written fails at once, naming every rank, without waiting for what is being written.",
       {"sim"},
       [](World& world, const gen::DrawOptions& options) {
         return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return on_every_rank(world, drawn, cancels_in_time); });
       },
       {"save.cancelled"},
       needs_virtual_time},
      {"slow-device",
       "S6 L1",
       "When a save or load has come back nothing uses the tensors any more, or its deadline has passed and the session knows.",
       {"sim"},
       [](World& world, const gen::DrawOptions& options) {
         return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return every_rank_lets_go(world, drawn); });
       },
       {"device.unfinished", "property.device_outlived_the_call", "property.snapshot_outlived_the_save"},
       needs_virtual_time},
  };
}

}  // namespace holdfast::properties
