// Something of one rank fails while ranks share what they read, or what is stored is damaged: the rank that failed is named, and no other, and nobody takes a wrong byte
// for a right one.
#include <memory>

#include "impl/backend/decorators/faulty_storage.h"
#include "impl/core/mark.h"
#include "impl/format/segment.h"
#include "impl/protocol/files.h"
#include "impl/protocol/save.h"
#include "properties/property.h"
#include "properties/shared_job.h"
#include "properties/slow_device.h"
#include "properties/stored_files.h"

namespace holdfast::properties {
namespace {

constexpr port::Duration patience = std::chrono::seconds(10);
constexpr port::Duration too_long = std::chrono::seconds(8);  ///< for the work of a round, and not for the call

enum class Fault : std::uint8_t { storage, device, flip, abort, death, late, damage };

struct Faulty {
  Rank victim;
  Fault fault;
  std::uint64_t nth;
  std::uint64_t bit;
  backend::StorageOp op;
};

Faulty draw_fault(const gen::DrawnCase& drawn) {
  Draw draw(drawn.seed + 1);
  const auto fault = draw.of({Fault::storage, Fault::device, Fault::flip, Fault::abort, Fault::death, Fault::late, Fault::damage});
  using backend::StorageOp;
  const std::uint64_t calls = fault == Fault::device || fault == Fault::storage ? 24 : 6;
  return {Rank{draw.below(drawn.loaded.world_size)}, fault, draw.below<std::uint64_t>(1 + draw.below(calls)),
          draw.below<std::uint64_t>(1 << 20), draw.of({StorageOp::read_all, StorageOp::open, StorageOp::size, StorageOp::list})};
}

ExchangeFault exchange_fault(Fault fault) {
  if (fault == Fault::flip) return ExchangeFault::flip;
  return fault == Fault::abort ? ExchangeFault::abort : ExchangeFault::silence;
}

/// The doors of one rank, of which one fails if the rank is the victim.
class Doors {
 public:
  Doors(const port::Env& env, Rank rank, const Faulty& faulty, bool over_device)
      : fault_(faulty.fault), is_victim_(rank == faulty.victim),
        device_(env.device, rank, fault_ == Fault::device && is_victim_ ? std::optional(faulty.nth) : std::nullopt),
        slow_(env.device, env.clock, env.clock.now() + too_long), storage_(env.storage), device_plane_(env.data),
        data_(over_device ? static_cast<port::DataPlane&>(device_plane_) : env.data, exchange_fault(fault_),
              is_of_data(fault_) && is_victim_ ? std::optional(faulty.nth) : std::nullopt, faulty.bit),
        net_(env.net, data_),
        env_{net_,      data_,     storage_,    fault_ == Fault::late && is_victim_ ? static_cast<port::Device&>(slow_) : device_,
             env.clock, env.tasks, env.observer} {
    if (fault_ == Fault::storage && is_victim_)
      storage_.plant({faulty.op, faulty.nth + 1, {ErrorCode::injected, fmt::format("storage {}: the injected fault", rank)}});
  }
  const port::Env& env() const { return env_; }
  /// On the victim: whether it has happened.
  bool happened() const { return device_.happened() || data_.happened() || storage_.fired() != 0 || slow_.busy(); }
  bool is_silent() const { return data_.is_silent(); }

 private:
  static bool is_of_data(Fault fault) { return fault == Fault::flip || fault == Fault::abort || fault == Fault::death; }

  Fault fault_;
  bool is_victim_;
  FaultyDevice device_;
  SlowDevice slow_;
  backend::FaultyStorage storage_;
  DeviceDataPlane device_plane_;
  FaultyDataPlane data_;
  SilencedNet net_;
  port::Env env_;
};

/// Whether the error of a rank is what the fault of the victim must give.
bool fits(const CheckpointError& error, const Faulty& faulty) {
  switch (faulty.fault) {
    case Fault::storage: return says(error, faulty.victim, ErrorCode::injected, fmt::format("storage {}", faulty.victim));
    case Fault::device: return says(error, faulty.victim, ErrorCode::injected, fmt::format("device {}", faulty.victim));
    case Fault::flip: return error.step == "read" && says(error, faulty.victim, ErrorCode::io_error, "load: what rank");
    case Fault::abort:
      return error.step == "read" && says(error, faulty.victim, ErrorCode::aborted, fmt::format("rank {} aborted", faulty.victim));
    case Fault::death: return error.failures.empty() && error.lost == std::vector{faulty.victim};
    case Fault::late: return says(error, faulty.victim, ErrorCode::timeout, "a slow device");
    case Fault::damage: return false;
  }
  return false;
}

void mark(Fault fault) {
  switch (fault) {
    case Fault::storage: MARK("shared_faults.storage_failed"); break;
    case Fault::device: MARK("shared_faults.device_failed"); break;
    case Fault::flip: MARK("shared_faults.flipped"); break;
    case Fault::abort: MARK("shared_faults.aborted"); break;
    case Fault::death: MARK("shared_faults.died"); break;
    case Fault::late: MARK("shared_faults.late"); break;
    case Fault::damage: MARK("shared_faults.damaged"); break;
  }
}

/// A bit of the data of some segment.
Status damage(port::Storage& storage, const std::string& directory, Draw draw, port::Deadline deadline) {
  std::vector<std::string> segments = TRY(stored_files(storage, directory, deadline));
  std::erase_if(segments, [](const std::string& path) { return !path.ends_with(".safetensors"); });
  const std::string& path = segments[draw.below(segments.size())];
  const SharedBytes file = TRY(protocol::read_file(storage, path, stored_file_bytes_max, deadline));
  const std::uint64_t header_bytes = TRY(format::segment_header_bytes(file.view().first(8), path));
  return flip_stored_bit(storage, path, 8 * (header_bytes + draw.below(file.view().size() - header_bytes)) + draw.below(8u), deadline);
}

Wrong saves_twice(protocol::Session& session, Rank rank, const gen::DrawnCase& drawn, const Faulty& faulty) {
  std::string newest;
  for (const std::int64_t version : {1, 2}) {
    gen::RankState state = make_state(drawn.saved, rank, make_values(drawn.saved, static_cast<std::uint64_t>(version)));
    const auto saved = protocol::save(session, state.dict, {.step = Step{version}, .block_bytes = drawn.block_bytes});
    if (!saved) return "save: " + to_string(saved.error());
    newest = saved->directory;
  }
  if (rank != drawn.coordinator || faulty.fault != Fault::damage) return std::nullopt;
  const port::Env& env = session.env();
  const Status damaged = damage(env.storage, newest, Draw(drawn.seed), env.clock.after(std::chrono::seconds(60)));
  return damaged ? Wrong() : fmt::format("damage: {}", damaged.error());
}

/// Every rank falls back to the first checkpoint, and says which rank found the damage: the one that reads the block.
Wrong fell_back(const protocol::Checkpointed<protocol::Loaded>& loaded) {
  if (!loaded) return "a damaged checkpoint: " + to_string(loaded.error());
  if (loaded->skipped.size() != 1) return fmt::format("{} damaged checkpoints were told", loaded->skipped.size());
  const std::string& told = loaded->skipped.front();
  const bool one_rank = told.find("rank ") != told.npos && told.find("ranks ") == told.npos && told.find(';') == told.npos;
  return one_rank ? Wrong() : "not one rank is named: " + told;
}

Wrong load(const World& world, const port::Env& real, Rank rank, const gen::DrawnCase& drawn, const Faulty& faulty) {
  Doors doors(real, rank, faulty, over_device(world, drawn));
  gen::RankState state = make_destination(drawn.loaded, rank);
  protocol::Session session(doors.env(), {.coordinator = drawn.load_coordinator});
  const port::Deadline end = real.clock.after(patience);
  const protocol::ReadingOptions reading = shared_reading(drawn);
  const auto loaded =
      protocol::load(session, state.dict, {.deadline = patience, .reading = reading, .share_reads = true, .staging_keep_bytes = 0});
  if (real.clock.now() > end.at + std::chrono::milliseconds(1)) return "the call came back after its deadline";
  if (!session.unfinished().empty()) return "the device was done in time, and the session says that it was not";
  if (doors.is_silent()) return std::nullopt;
  if (faulty.fault == Fault::damage) {
    if (auto wrong = fell_back(loaded)) return wrong;
    mark(faulty.fault);
    if (reading.mode == protocol::LoadMode::streamed) MARK("shared_faults.damaged_streamed");
    return difference(state, drawn.loaded, rank, make_values(drawn.saved, 1));
  }
  if (loaded) {
    if (!loaded->skipped.empty()) return "a checkpoint is called damaged: " + loaded->skipped.front();
    return difference(state, drawn.loaded, rank, make_values(drawn.saved, 2));
  }
  const CheckpointError& error = loaded.error();
  if (!fits(error, faulty)) return to_string(error);
  if (rank == faulty.victim && !doors.happened() && faulty.fault != Fault::late) return "failed without a fault: " + to_string(error);
  mark(faulty.fault);
  if (reading.mode == protocol::LoadMode::streamed || error.step == "place") return std::nullopt;
  return touched(state, drawn.loaded, rank);
}

Wrong names_the_victim(World& world, const gen::DrawnCase& small) {
  const gen::DrawnCase drawn = with_shared_tensor(small);
  world.reset();
  const Faulty faulty = draw_fault(drawn);
  auto wrong = on_ranks(world, drawn.saved.world_size, drawn.seed, drawn.coordinator,
                        [&](protocol::Session& session, Rank rank) { return saves_twice(session, rank, drawn, faulty); });
  if (wrong) return wrong;
  return on_ranks(world, drawn.loaded.world_size, drawn.seed + 1,
                  [&](const port::Env& env, Rank rank) { return load(world, env, rank, drawn, faulty); });
}

}  // namespace

std::vector<Property> shared_fault_properties() {
  return {{"shared-reads-faults",
           "S4 S5 L1 L4 A1 A3",
           "Ranks share what they read, and a storage or device call of one fails, its device is late, a bit flips on the way, its data "
           "plane is "
           "aborted, it dies: every rank is told of that rank, and no other, by the deadline, and unless it was streamed nothing has "
           "changed; of "
           "damage the rank that reads the block is named, and all fall back.",
           {"sim"},
           [](World& world, const gen::DrawOptions& options) {
             return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return names_the_victim(world, drawn); });
           },
           {"shared_faults.storage_failed", "shared_faults.device_failed", "shared_faults.flipped", "shared_faults.aborted",
            "shared_faults.died", "shared_faults.late", "shared_faults.damaged", "shared_faults.damaged_streamed",
            "share.exchanged_after_failure", "share.through_device"},
           needs_virtual_time}};
}

}  // namespace holdfast::properties
