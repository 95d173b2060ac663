// Something of one rank fails in a transfer: that rank is named, and no other, and nobody takes a wrong byte for a right one.
#include "impl/core/mark.h"
#include "properties/faulty_doors.h"
#include "properties/property.h"
#include "properties/slow_device.h"
#include "properties/transfer_job.h"

namespace holdfast::properties {
namespace {

constexpr port::Duration patience = std::chrono::seconds(10);
constexpr port::Duration patience_in_real_time = std::chrono::seconds(4);
constexpr port::Duration too_long = std::chrono::seconds(8);  ///< for the work of a round, and not for the call

enum class Fault : std::uint8_t { flip, device, abort, death, late };

struct Faulty {
  Rank victim;
  Fault fault;
  std::uint64_t nth;
  std::uint64_t bit;
};

/// In real time: of the faults that make nobody wait, and now and then an abort, after which ranks that were not its peers may wait for some seconds.
Faulty draw_fault(const TransferJob& job, bool in_real_time) {
  Draw draw(job.seed + 1);
  auto fault = draw.of({Fault::flip, Fault::device, Fault::abort, Fault::death, Fault::late});
  if (in_real_time) fault = draw.below(10) == 0 ? Fault::abort : draw.of({Fault::flip, Fault::device});
  const std::uint64_t calls = fault == Fault::device ? 60 : 8;
  return {Rank{draw.below(job.ranks)}, fault, draw.below<std::uint64_t>(1 + draw.below(calls)), draw.below<std::uint64_t>(1 << 20)};
}

ExchangeFault exchange_fault(Fault fault) {
  if (fault == Fault::flip) return ExchangeFault::flip;
  return fault == Fault::abort ? ExchangeFault::abort : ExchangeFault::silence;
}

/// The doors of one rank, of which one fails if the rank is the victim.
class Doors {
 public:
  Doors(const port::Env& env, Rank rank, const Faulty& faulty)
      : fault_(faulty.fault), is_victim_(rank == faulty.victim),
        device_(env.device, rank, fault_ == Fault::device && is_victim_ ? std::optional(faulty.nth) : std::nullopt),
        slow_(env.device, env.clock, env.clock.now() + too_long),
        data_(env.data, exchange_fault(fault_),
              fault_ != Fault::device && fault_ != Fault::late && is_victim_ ? std::optional(faulty.nth) : std::nullopt, faulty.bit),
        net_(env.net, data_),
        env_{net_,      data_,     env.storage, fault_ == Fault::late && is_victim_ ? static_cast<port::Device&>(slow_) : device_,
             env.clock, env.tasks, env.observer} {}
  const port::Env& env() const { return env_; }
  /// On the victim: whether it has happened.
  bool happened() const { return device_.happened() || data_.happened() || slow_.busy(); }
  bool is_silent() const { return data_.is_silent(); }

 private:
  Fault fault_;
  bool is_victim_;
  FaultyDevice device_;
  SlowDevice slow_;
  FaultyDataPlane data_;
  SilencedNet net_;
  port::Env env_;
};

/// Whether the error of a rank is what the fault of the victim must give.
bool fits(const CheckpointError& error, const Faulty& faulty) {
  switch (faulty.fault) {
    case Fault::flip:
      return error.step == "move" && says(error, faulty.victim, ErrorCode::corrupt, fmt::format("to rank {}: the digest", faulty.victim));
    case Fault::device: return says(error, faulty.victim, ErrorCode::injected, fmt::format("device {}", faulty.victim));
    case Fault::abort:
      return error.step == "move" && says(error, faulty.victim, ErrorCode::aborted, fmt::format("rank {} aborted", faulty.victim));
    case Fault::death: return error.failures.empty() && error.lost == std::vector{faulty.victim};
    case Fault::late: return error.step == "move" && says(error, faulty.victim, ErrorCode::timeout, "a slow device");
  }
  return false;
}

void mark(Fault fault) {
  switch (fault) {
    case Fault::flip: MARK("transfer_faults.flipped"); break;
    case Fault::device: MARK("transfer_faults.device_failed"); break;
    case Fault::abort: MARK("transfer_faults.aborted"); break;
    case Fault::death: MARK("transfer_faults.died"); break;
    case Fault::late: MARK("transfer_faults.late"); break;
  }
}

Wrong push(const port::Env& real, Rank rank, const TransferJob& job, const Faulty& faulty, bool in_real_time) {
  const port::Duration limit = in_real_time ? patience_in_real_time : patience;
  const port::Duration slack = in_real_time ? std::chrono::milliseconds(500) : std::chrono::milliseconds(1);
  Doors doors(real, rank, faulty);
  const gen::WholeValues values = make_values(job.to, job.seed);
  gen::RankState source = job.source(rank, make_values(job.from, job.seed));
  gen::RankState destination = job.destination(rank);
  protocol::Session session(doors.env(), {.coordinator = job.coordinator});
  const port::Deadline end = real.clock.after(limit);
  const auto done = protocol::transfer(session, source.dict, destination.dict,
                                       {.strict = false, .deadline = limit, .memory_budget_bytes = job.budget_bytes});
  if (real.clock.now() > end.at + slack) return "the call came back after its deadline";
  if (!session.unfinished().empty()) return "the device was done in time, and the session says that it was not";
  if (doors.is_silent()) return std::nullopt;
  if (done) return job.difference(destination, rank, values);
  if (job.wanted_bytes() == 0 && done.error().step == "plan") return std::nullopt;
  if (!fits(done.error(), faulty)) return to_string(done.error());
  if (rank == faulty.victim && !doors.happened() && faulty.fault != Fault::late)
    return "failed without a fault: " + to_string(done.error());
  mark(faulty.fault);
  return std::nullopt;
}

Wrong names_the_victim(World& world, const gen::DrawnCase& drawn, bool in_real_time) {
  world.reset();
  const TransferJob job = transfer_job(world, drawn);
  const Faulty faulty = draw_fault(job, in_real_time);
  return on_ranks(world, job.ranks, job.seed, [&](const port::Env& env, Rank rank) { return push(env, rank, job, faulty, in_real_time); });
}

}  // namespace

std::vector<Property> transfer_fault_properties() {
  return {
      {"transfer-faults",
       "S4 L1 L4 A1 A3",
       "A flipped bit on the way, a device that fails or is late, a data plane that is aborted, a rank that dies: every rank is told of "
       "that rank, and no other, by the deadline; or all is well, and every element is right.",
       {"sim"},
       [](World& world, const gen::DrawOptions& options) {
         return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return names_the_victim(world, drawn, false); });
       },
       {"transfer_faults.flipped", "transfer_faults.device_failed", "transfer_faults.aborted", "transfer_faults.died",
        "transfer_faults.late", "transfer.exchanged_after_failure", "exchange.consequence_not_named"},
       needs_virtual_time},
      {"transfer-blame",
       "S4 L1 A1 A3",
       "The same over real data planes: a flipped bit, a device that fails, a data plane that is aborted.",
       {"threads", "procs"},
       [](World& world, const gen::DrawOptions& options) {
         return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return names_the_victim(world, drawn, true); });
       },
       {"transfer_faults.flipped", "transfer_faults.device_failed", "transfer_faults.aborted"},
       "asks for the data planes of threads and processes"}};
}

}  // namespace holdfast::properties
