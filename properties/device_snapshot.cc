// Asynchronous saves from a copy in device memory: they store the values of the call, keep the trainer waiting for no storage, and take no more memory than
// they may, whatever goes wrong on the way.
#include "impl/core/mark.h"
#include "impl/protocol/load.h"
#include "impl/protocol/pending_save.h"
#include "properties/device_state.h"
#include "properties/on_ranks.h"
#include "properties/property.h"
#include "properties/snapshot_doors.h"

namespace holdfast::properties {
namespace {

using protocol::Saved;
using protocol::Snapshot;

constexpr port::Duration patience = std::chrono::seconds(60);
constexpr port::Duration at_once = std::chrono::seconds(20);  ///< of real time in some worlds
constexpr std::uint64_t page = 4096, plenty = 1 << 30;
constexpr int saves = 3;

enum class Trouble : std::uint8_t { none, some_on_host, little_allowed, little_room, damage, storage_fails, cancel };

/// The drawn job with a tensor besides that fills many windows.
gen::DrawnCase enlarged(gen::DrawnCase drawn) {
  ChunkLayout cut{0, {}};
  for (int r = 0; r < drawn.saved.world_size; ++r) cut.placements.push_back(Rank{r});
  drawn.saved.tensors.push_back({"large", DType::bf16, {160, 211}, cut, static_cast<std::int64_t>(drawn.seed % 3)});
  return drawn;
}

/// What the ranks of a job agree on of one save.
struct Turn {
  std::int64_t number;
  Trouble trouble;
  std::uint64_t little;
  std::optional<std::uint64_t> staging_budget_bytes;
  GatedStorage::At gate;

  /// There is room for all tensors, and all lie on the device: so the call needs no storage.
  bool is_ample() const {
    return trouble != Trouble::some_on_host && trouble != Trouble::little_allowed && trouble != Trouble::little_room;
  }
  bool may_fail() const { return trouble == Trouble::damage || trouble == Trouble::storage_fails || trouble == Trouble::cancel; }
};

Turn draw_turn(const gen::DrawnCase& drawn, std::int64_t number) {
  Draw draw(drawn.seed * saves + static_cast<std::uint64_t>(number));
  using enum Trouble;
  // What lies on the host is so in all saves of a case.
  const Trouble trouble =
      drawn.seed % 5 == 0 ? some_on_host : draw.of({none, none, little_allowed, little_room, damage, storage_fails, cancel});
  Turn turn{number, trouble, draw.below(std::uint64_t{20'000}), {}, draw.of({GatedStorage::At::create, GatedStorage::At::write})};
  if (draw.one_in(2)) turn.staging_budget_bytes = page * (1 + draw.below(std::uint64_t{30}));
  return turn;
}

/// The doors of one rank; they outlive what a save left behind.
struct Doors {
  Doors(const port::Env& env) : device(env.device, env.clock), storage(env.storage, env.tasks) {}
  ScarceDevice device;
  GatedStorage storage;
};

class SnapshotCheck {
 public:
  SnapshotCheck(const port::Env& real, Rank rank, const gen::DrawnCase& drawn, Doors& doors)
      : env_{real.net, real.data, doors.storage, doors.device, real.clock, real.tasks, real.observer}, rank_(rank), drawn_(drawn),
        device_(doors.device), storage_(doors.storage), session_(env_, {.coordinator = drawn.coordinator}),
        state_(make_state(drawn.saved, rank, make_values(drawn.saved, 0))), on_device_(state_, env_, drawn.seed % 5 == 0 ? 2 : 0) {}

  Wrong run() {
    std::vector<std::pair<std::int64_t, std::string>> committed;
    for (std::int64_t number = 1; number <= saves; ++number) {
      const Turn turn = draw_turn(drawn_, number);
      const Result<std::optional<std::string>> directory = save(turn);
      if (!directory) return fmt::format("save {}: {}", number, directory.error().message);
      if (*directory) committed.emplace_back(number, **directory);
    }
    for (const auto& [number, directory] : committed) {
      gen::RankState state = make_destination(drawn_.saved, rank_);
      const auto loaded = protocol::load(session_, state.dict, {.directory = directory});
      if (!loaded) return fmt::format("load {}: {}", directory, to_string(loaded.error()));
      if (auto wrong = difference(state, drawn_.saved, rank_, values(number))) return fmt::format("{}: {}", directory, *wrong);
    }
    return std::nullopt;
  }

 private:
  template <typename... Args>
  static tl::unexpected<Error> wrong(fmt::format_string<Args...> format, Args&&... args) {
    return fail(ErrorCode::corrupt, format, std::forward<Args>(args)...);
  }

  gen::WholeValues values(std::int64_t version) const {
    return make_values(drawn_.saved, drawn_.seed + static_cast<std::uint64_t>(version));
  }
  bool is_mine(const Turn& turn) const { return turn.may_fail() && std::ranges::binary_search(drawn_.chosen, rank_); }

  /// The trainer's step: all values of the tensors, in place, on the host and on the device.
  void train(const gen::RankState& to) {
    for (std::size_t i = 0; i < state_.memory.size(); ++i) std::ranges::copy(to.memory[i], state_.memory[i].begin());
    on_device_.upload();
  }
  void train_on() {
    for (Bytes& memory : state_.memory) std::ranges::fill(memory, std::byte{0xEE});
    on_device_.upload();
  }

  void prepare(const Turn& turn) {
    const gen::RankState to = make_state(drawn_.saved, rank_, values(turn.number));
    train(to);
    for (const auto& [name, entry] : to.dict.entries()) {
      if (const auto* value = std::get_if<BytesEntry>(&entry)) std::get<BytesEntry>(*state_.dict.find(name)) = *value;
    }
    device_.limit(turn.trouble == Trouble::little_room ? turn.little : plenty);
    device_.damage_next(turn.trouble == Trouble::damage && is_mine(turn));
    storage_.set_failing(turn.trouble == Trouble::storage_fails && is_mine(turn));
    if (turn.is_ample()) storage_.close_gate(turn.gate);
  }

  /// The directory of the checkpoint, or none where the save failed as it may.
  Result<std::optional<std::string>> save(const Turn& turn) {
    prepare(turn);
    const port::TimePoint began = env_.clock.now();
    auto started = protocol::async_save(session_, state_.dict,
                                        {.step = Step{turn.number},
                                         .deadline = patience,
                                         .block_bytes = drawn_.block_bytes,
                                         .retention = {.keep_last = saves},
                                         .staging_budget_bytes = turn.staging_budget_bytes,
                                         .snapshot = Snapshot::device,
                                         .snapshot_bytes_max = turn.trouble == Trouble::little_allowed ? turn.little : plenty});
    if (!started) return wrong("async_save: {}", to_string(started.error()));
    if (turn.is_ample()) {
      if (env_.clock.now() - began > at_once) return wrong("the call waited for a storage that stands still");
      MARK("property.snapshot_needs_no_storage");
    }
    train_on();
    if (turn.trouble == Trouble::cancel && is_mine(turn)) started->cancel();
    // With staging enough for all, the device is free before anything is written.
    const bool frees_first = turn.is_ample() && !turn.may_fail() && turn.gate == GatedStorage::At::write && !turn.staging_budget_bytes;
    if (frees_first && !is_free()) return wrong("{} bytes of device memory are held though all is staged", device_.held_bytes());
    if (frees_first) MARK("property.snapshot_freed_first");
    storage_.open_gate();
    const auto outcome = started->wait(env_.clock.after(patience));
    if (!outcome) return wrong("it did not end");
    if (!is_free()) return wrong("{} bytes of device memory are held after it has ended", device_.held_bytes());
    return judge(turn, *outcome);
  }

  Result<std::optional<std::string>> judge(const Turn& turn, const protocol::Checkpointed<Saved>& outcome) {
    if (turn.trouble == Trouble::little_allowed && device_.peak_bytes() > turn.little)
      return wrong("{} bytes of device memory were held, {} were allowed", device_.peak_bytes(), turn.little);
    if (!outcome) {
      const std::vector<Rank> failed = outcome.error().failures.ranks();
      const bool expected = turn.may_fail() && !failed.empty() && std::ranges::includes(drawn_.chosen, failed);
      if (!expected || outcome.error().outcome != Outcome::failed) return wrong("{}", to_string(outcome.error()));
      if (turn.trouble == Trouble::damage) {
        for (const Rank rank : failed) {
          if (outcome.error().failures.find(rank)->code != ErrorCode::corrupt) return wrong("{}", to_string(outcome.error()));
        }
        MARK("property.snapshot_damage_found");
      }
      return std::nullopt;
    }
    if (device_.damaged()) return wrong("a snapshot that was damaged is committed");
    if (outcome->snapshot == Snapshot::device) {
      MARK("property.snapshot_taken");
    } else if (turn.is_ample() && device_.staged()) {
      return wrong("tensors of the device were staged, though there was room for a snapshot");
    }
    return outcome->directory;
  }

  /// Waits until no device memory of the save's is held; what failed or was cancelled may hold some for a moment.
  bool is_free() {
    const port::TimePoint until = env_.clock.now() + at_once;
    while (device_.held_bytes() != 0 || session_.staging()->device_bytes() != 0) {
      if (env_.clock.now() > until) return false;
      env_.clock.sleep_until(env_.clock.now() + std::chrono::milliseconds(1));
    }
    return true;
  }

  port::Env env_;
  Rank rank_;
  const gen::DrawnCase& drawn_;
  ScarceDevice& device_;
  GatedStorage& storage_;
  protocol::Session session_;
  gen::RankState state_;
  DeviceState on_device_;
};

Wrong snapshots(World& world, const gen::DrawnCase& small) {
  const gen::DrawnCase drawn = enlarged(small);
  world.reset();
  std::vector<std::unique_ptr<Doors>> doors(static_cast<std::size_t>(drawn.saved.world_size));
  return on_ranks(world, drawn.saved.world_size, drawn.seed, [&](const port::Env& env, Rank rank) {
    auto& mine = doors[static_cast<std::size_t>(rank.value)];
    mine = std::make_unique<Doors>(env);
    return SnapshotCheck(env, rank, drawn, *mine).run();
  });
}

}  // namespace

std::vector<Property> snapshot_properties() {
  return {{"device-snapshot",
           "S4 S6 L1 L4 A1",
           "A save from a snapshot in device memory stores the values of the call, which waits for no storage, within the memory it may "
           "take, or stages; a "
           "byte that changes in the snapshot ends it.",
           in_every_world(),
           [](World& world, const gen::DrawOptions& options) {
             return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return snapshots(world, drawn); });
           },
           {"snapshot.taken", "snapshot.no_room", "snapshot.host_tensors", "property.snapshot_taken", "property.snapshot_needs_no_storage",
            "property.snapshot_freed_first", "property.snapshot_damage_found"}}};
}

}  // namespace holdfast::properties
