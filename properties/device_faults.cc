// The device of one rank fails, at any call or work of a save or a load: that rank is named, and no other; nothing that was committed is lost; nothing leaks.
#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/protocol/load.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/save.h"
#include "properties/device_state.h"
#include "properties/on_ranks.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

constexpr std::uint64_t calls_max = 120;  ///< more than a small save or load makes

struct Faulty {
  Rank victim;
  DeviceFault fault;
  std::uint64_t nth;
};

Faulty draw_fault(const gen::DrawnCase& drawn, int ranks) {
  Draw draw(drawn.seed);
  // Early calls are as likely as late ones: where it is cut is drawn first.
  return {Rank{draw.below(ranks)}, draw.of({DeviceFault::out_of_memory, DeviceFault::call_lost, DeviceFault::work_lost}),
          draw.below(1 + draw.below(calls_max))};
}

/// Of the one rank whose device failed, in the words of the back end.
bool names(const CheckpointError& error, Rank victim) {
  const Error* told = error.failures.find(victim);
  return error.lost.empty() && error.failures.ranks() == std::vector<Rank>{victim} &&
         told->message.find(fmt::format("device {}", victim.value)) != std::string::npos;
}

class DeviceFaultCheck {
 public:
  DeviceFaultCheck(World& world, const gen::DrawnCase& drawn)
      : world_(world), drawn_(drawn), faulty_(draw_fault(drawn, drawn.saved.world_size)),
        newest_(static_cast<std::size_t>(drawn.saved.world_size), 1) {}

  Wrong run() {
    world_.reset();
    if (Wrong wrong = in_job([&](auto& session, Rank rank) { return saves(session, rank, 1, false); })) return wrong;
    const bool in_save = drawn_.seed % 2 == 0;
    Wrong wrong = in_job([&](auto& session, Rank rank) { return in_save ? saves_twice(session, rank) : loads(session, rank, true); });
    if (wrong) return wrong;
    return in_job([&](auto& session, Rank rank) { return loads(session, rank, false); });
  }

 private:
  Wrong in_job(const std::function<Wrong(protocol::Session&, Rank)>& body) {
    return on_ranks(world_, drawn_.saved.world_size, drawn_.seed, drawn_.coordinator, body);
  }

  void arm(Rank rank) {
    if (rank == faulty_.victim) world_.device_faults()->arm(rank, faulty_.fault, faulty_.nth);
  }
  /// Whether the fault has happened; only the victim knows.
  bool disarm(Rank rank) { return rank == faulty_.victim && world_.device_faults()->disarm(); }

  gen::WholeValues values(std::int64_t version) const { return make_values(drawn_.saved, static_cast<std::uint64_t>(version)); }

  /// Of an asynchronous save that the trainer waits for at once.
  static protocol::Checkpointed<protocol::Saved> by_snapshot(protocol::Session& session, gen::RankState& state,
                                                             const protocol::SaveOptions& options) {
    auto started = protocol::async_save(session, state.dict, options);
    if (!started) return tl::unexpected(std::move(started).error());
    const auto outcome = started->wait(session.env().clock.after(std::chrono::minutes(5)));
    CHECK(outcome, "a save that outlives its deadline");
    if (*outcome && (*outcome)->snapshot == protocol::Snapshot::device) MARK("device_faults.by_snapshot");
    return *outcome;
  }

  Wrong saves(protocol::Session& session, Rank rank, std::int64_t version, bool fails) {
    gen::RankState state = make_state(drawn_.saved, rank, values(version));
    auto on_device = move_to_device(world_, state, session.env());
    if (fails) arm(rank);
    const protocol::SaveOptions options{.step = Step{version}, .block_bytes = drawn_.block_bytes, .snapshot = protocol::Snapshot::device};
    const auto saved = drawn_.seed % 3 == 0 ? by_snapshot(session, state, options) : protocol::save(session, state.dict, options);
    const bool failed = fails && disarm(rank);
    if (saved) {
      newest_[static_cast<std::size_t>(rank.value)] = version;
      if (failed) MARK("device_faults.save_went_on");
      return std::nullopt;
    }
    if (!fails || saved.error().outcome != Outcome::failed || !names(saved.error(), faulty_.victim))
      return "save: " + to_string(saved.error());
    if (rank == faulty_.victim && !failed) return "save failed, though its device did not: " + to_string(saved.error());
    MARK("device_faults.save_failed");
    return std::nullopt;
  }

  /// After a refusal the next save is a good one; a device that is lost stays lost, and is named again.
  Wrong saves_twice(protocol::Session& session, Rank rank) {
    if (Wrong wrong = saves(session, rank, 2, true)) return wrong;
    if (faulty_.fault == DeviceFault::out_of_memory) return saves(session, rank, 3, false);
    return std::nullopt;
  }

  Wrong loads(protocol::Session& session, Rank rank, bool fails) {
    gen::RankState state = make_destination(drawn_.saved, rank);
    auto on_device = move_to_device(world_, state, session.env());
    if (fails) arm(rank);
    const auto mode = drawn_.seed % 4 < 2 ? protocol::LoadMode::streamed : protocol::LoadMode::all_or_nothing;
    const auto loaded = protocol::load(session, state.dict, {.reading = {mode, 64}});
    const bool failed = fails && disarm(rank);
    if (!loaded) {
      if (!fails || !names(loaded.error(), faulty_.victim)) return "load: " + to_string(loaded.error());
      if (rank == faulty_.victim && !failed) return "load failed, though its device did not: " + to_string(loaded.error());
      MARK("device_faults.load_failed");
      return std::nullopt;
    }
    if (failed) return std::nullopt;  // the device may be lost, and its memory with it
    if (on_device) on_device->download();
    if (auto differs = difference(state, drawn_.saved, rank, values(newest_[static_cast<std::size_t>(rank.value)])))
      return fmt::format("{}: {}", loaded->directory, *differs);
    return std::nullopt;
  }

  World& world_;
  const gen::DrawnCase& drawn_;
  Faulty faulty_;
  std::vector<std::int64_t> newest_;  ///< by rank: the version that it was told is committed
};

}  // namespace

std::vector<Property> device_fault_properties() {
  const auto property = [](World& world, const gen::DrawOptions& options) {
    return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return DeviceFaultCheck(world, drawn).run(); });
  };
  return {{"device-faults",
           "S3 S4 S6 L4 A1 A3",
           "Whatever call or work of one rank's device fails in a save or a load: that rank is named by its device, and no other; what was "
           "committed loads; nothing leaks.",
           {"simgpu"},
           property,
           {"device_faults.save_failed", "device_faults.save_went_on", "device_faults.load_failed", "device_faults.by_snapshot"}}};
}

}  // namespace holdfast::properties
