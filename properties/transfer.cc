// Tensors that move from memory to memory: every element arrives, in whatever layout, and what could go wrong without a sound is refused by name.
#include <algorithm>
#include <memory>

#include "impl/core/mark.h"
#include "properties/device_state.h"
#include "properties/faulty_doors.h"
#include "properties/property.h"
#include "properties/transfer_job.h"

namespace holdfast::properties {
namespace {

/// What keeps the error of a transfer that would move nothing from being that.
Wrong not_empty(const TransferJob& job, const protocol::Checkpointed<protocol::Transferred>& done) {
  if (done) return "an empty transfer succeeded";
  const CheckpointError& error = done.error();
  const Error* told = error.failures.find(job.coordinator);
  const bool is_refused = error.step == "plan" && error.failures.ranks() == std::vector<Rank>{job.coordinator} &&
                          told->code == ErrorCode::invalid_argument && told->message.find("nothing to move") != std::string::npos;
  if (is_refused) MARK("property.transfer_empty");
  return is_refused ? std::nullopt : Wrong("an empty transfer: " + to_string(error));
}

/// The same, whatever the layouts, wherever source and destination lie, and whatever memory the data plane moves.
class Push {
 public:
  Push(World& world, const TransferJob& job, const port::Env& env, Rank rank)
      : world_(world), job_(job), rank_(rank), device_plane_(env.data),
        env_{env.net,     over_device() ? static_cast<port::DataPlane&>(device_plane_) : env.data,
             env.storage, env.device,
             env.clock,   env.tasks,
             env.observer},
        session_(env_, {.coordinator = job.coordinator}) {}

  Wrong run() {
    gen::RankState destination = job_.destination(rank_);
    for (std::uint64_t version = 1; version <= 1 + job_.seed % 2; ++version) {  // a second push finds the values of the first
      if (Wrong wrong = push(destination, version)) return fmt::format("push {}: {}", version, *wrong);
    }
    return std::nullopt;
  }

 private:
  /// Of the simulated device, whose device memory is none of the host's kind and lies where the data plane reaches it.
  bool over_device() const { return world_.name() == "sim" && job_.seed % 3 == 1; }
  std::optional<DeviceState> moved(gen::RankState& state, bool to_device) const {
    return to_device || world_.device_memory() ? std::optional<DeviceState>(std::in_place, state, env_) : std::nullopt;
  }

  Wrong push(gen::RankState& destination, std::uint64_t version) {
    const gen::WholeValues values = make_values(job_.to, job_.seed + version);
    gen::WholeValues held = make_values(job_.from, job_.seed + version);
    gen::RankState source = job_.source(rank_, held);
    std::optional<DeviceState> source_there = moved(source, job_.seed % 7 < 3);
    std::optional<DeviceState> destination_there = moved(destination, job_.seed % 11 < 5);
    const auto done = protocol::transfer(
        session_, source.dict, destination.dict,
        {.strict = job_.missing.empty(), .memory_budget_bytes = job_.budget_bytes, .staging_keep_bytes = job_.seed % 2 * 4096});
    if (destination_there) destination_there->download();
    if (source_there) source_there->download();
    if (job_.wanted_bytes() == 0) return not_empty(job_, done);
    if (!done) return to_string(done.error());
    if (session_.staging()->peak_bytes() > job_.budget_bytes)
      return fmt::format("{} bytes of staging were held, the budget is {}", session_.staging()->peak_bytes(), job_.budget_bytes);
    if (done->received_bytes + done->copied_bytes != job_.wanted_bytes(rank_)) {
      return fmt::format("{} bytes received and {} copied; {} are wanted", done->received_bytes, done->copied_bytes,
                         job_.wanted_bytes(rank_));
    }
    if (done->missing != job_.missing || done->unexpected != job_.unexpected) {
      return fmt::format("missing {}, unexpected {}; expected {} and {}", fmt::join(done->missing, ","), fmt::join(done->unexpected, ","),
                         fmt::join(job_.missing, ","), fmt::join(job_.unexpected, ","));
    }
    return job_.difference(destination, rank_, values);
  }

  World& world_;
  const TransferJob& job_;
  Rank rank_;
  DeviceDataPlane device_plane_;
  port::Env env_;
  protocol::Session session_;
};

Wrong transfers(World& world, const gen::DrawnCase& drawn) {
  world.reset();
  const TransferJob job = transfer_job(world, drawn);
  return on_ranks(world, job.ranks, job.seed, [&](const port::Env& env, Rank rank) { return Push(world, job, env, rank).run(); });
}

/// What the states of one rank have that is refused, or, the last ones, that looks like it and is not.
enum class Oddity : std::uint8_t {
  overlap,         ///< its destination begins within its source
  written_twice,   ///< two tensors of its destination share memory
  dtype,           ///< of its destination
  shape,           ///< of its destination
  source_shape,    ///< of its source
  missing,         ///< its destination asks for what nobody has
  unexpected,      ///< its source has what nobody wants, and everything must be wanted
  value,           ///< its destination has a byte value
  uneven_sources,  ///< it holds a box that is a part of another rank's
  uncovered,       ///< it wants an element that nobody holds
  in_place,        ///< its destination is its source
  interleaved,     ///< its destination and its source are the odd and the even elements of one buffer
};
constexpr std::int64_t oddities = 12;

/// What is refused; nothing where it is not.
std::string_view refusal_of(Oddity odd) {
  switch (odd) {
    case Oddity::overlap: return "share memory; only the same box in the same memory may";
    case Oddity::written_twice: return "share memory; both would be written";
    case Oddity::dtype: return "dtype F32 in the source of rank 0, I32 in the destination";
    case Oddity::shape: return "shape [8] in the source of rank 0, [9] in the destination";
    case Oddity::source_shape: return "shape [8] in the source of rank 0, [9] in the source";
    case Oddity::missing: return "\"nobody\" of the destination: no rank holds it";
    case Oddity::unexpected: return "\"extra\" of the source: no rank has a place for it";
    case Oddity::value: return "\"note\" of the destination is a byte value";
    case Oddity::uneven_sources: return "overlaps with";
    case Oddity::uncovered: return "but no rank holds [7]+[1]";
    case Oddity::in_place:
    case Oddity::interleaved: break;
  }
  return "";
}

/// The states of one rank, by hand: of two tensors of f32, [8], "w" and "u", rank 0 holds all, but for the last element of "u", which nobody wants.
class OddStates {
 public:
  OddStates(Rank rank, std::optional<Oddity> odd) : numbers_(256, -1.0f) {
    const auto is = [&](Oddity other) { return odd == other; };
    if (is(Oddity::interleaved)) hold({"w", 0, 8, 2});
    if (is(Oddity::source_shape)) hold({"w", 0, 8, 1, DType::f32, 9});
    if (is(Oddity::uneven_sources)) hold({"w", 0, 7});
    if (rank.value == 0 || is(Oddity::overlap) || is(Oddity::in_place)) hold({"w", 0});
    if (rank.value == 0) hold({"u", 16, 7});
    if (is(Oddity::unexpected)) hold({"extra", 32});
    if (is(Oddity::overlap)) want({"w", 3});
    if (is(Oddity::in_place)) want({"w", 0});
    if (is(Oddity::interleaved)) want({"w", 1, 8, 2});
    if (is(Oddity::dtype)) want({"w", 48, 8, 1, DType::i32});
    if (is(Oddity::shape)) want({"w", 48, 8, 1, DType::f32, 9});
    if (!to.find("w")) want({"w", 48});
    want({"u", 64, is(Oddity::uncovered) ? 8 : 7});
    if (is(Oddity::written_twice)) want({"v", 50});
    if (is(Oddity::missing)) want({"nobody", 80});
    if (is(Oddity::value)) CHECK(to.add_bytes("note", Bytes(3)).has_value(), "a byte value");
    before_ = numbers_;
  }
  OddStates(const OddStates&) = delete;
  OddStates& operator=(const OddStates&) = delete;

  StateDict from, to;

  bool is_untouched() const { return numbers_ == before_; }
  bool has_arrived() const {
    return std::ranges::all_of(wanted_, [&](const Part& part) {
      for (std::int64_t i = 0; i < part.elements; ++i) {
        if (at(part, i) != static_cast<float>(i + 1)) return false;
      }
      return true;
    });
  }

 private:
  struct Part {
    std::string name;
    std::int64_t begin;  ///< in the buffer
    std::int64_t elements = 8;
    std::int64_t stride = 1;
    DType dtype = DType::f32;
    std::int64_t whole = 8;
  };
  float at(const Part& part, std::int64_t i) const { return numbers_[static_cast<std::size_t>(part.begin + i * part.stride)]; }
  void add(StateDict& state, const Part& part) {
    StridedBlock memory = packed_block(reinterpret_cast<std::byte*>(numbers_.data() + part.begin), {part.elements}, sizeof(float));
    memory.strides_bytes[0] *= part.stride;
    const Status added = state.add(part.name, TensorEntry{part.dtype, {part.whole}, true, {{{{0}, {part.elements}}, memory}}});
    CHECK(added.has_value(), "{}", added.error());
  }
  void hold(const Part& part) {
    for (std::int64_t i = 0; i < part.elements; ++i)
      numbers_[static_cast<std::size_t>(part.begin + i * part.stride)] = static_cast<float>(i + 1);
    add(from, part);
  }
  void want(const Part& part) {
    add(to, part);
    wanted_.push_back(part);
  }

  std::vector<float> numbers_, before_;
  std::vector<Part> wanted_;
};

/// Exactly these ranks are refused, in the plan, with these words; and nothing was touched.
Wrong not_refused(const protocol::Checkpointed<protocol::Transferred>& done, const OddStates& states, const std::vector<Rank>& ranks,
                  std::string_view words) {
  if (done) return fmt::format("a transfer succeeded that must be refused: \"{}\"", words);
  const CheckpointError& error = done.error();
  const Error* told = error.failures.find(ranks.back());
  const bool is_refused = error.step == "plan" && error.failures.ranks() == ranks && error.lost.empty() &&
                          told->code == ErrorCode::invalid_argument && told->message.find(words) != std::string::npos;
  if (!is_refused) return fmt::format("{}; expected \"{}\" of ranks {}", to_string(error), words, fmt::join(ranks, ","));
  if (!states.is_untouched()) return "memory was written though the transfer was refused";
  return std::nullopt;
}

Wrong refuses_on(const port::Env& env, Rank rank, Rank odd_rank, Oddity odd) {
  OddStates states(rank, rank == odd_rank ? std::optional(odd) : std::nullopt);
  protocol::Session session(env, {.coordinator = odd_rank});
  const bool all = odd == Oddity::unexpected;
  const auto done = protocol::transfer(session, states.from, states.to, {.all_of_source = all});
  const std::string_view words = refusal_of(odd);
  if (words.empty()) {
    if (!done) return to_string(done.error());
    return states.has_arrived() ? std::nullopt : Wrong("not every element has arrived");
  }
  std::vector<Rank> ranks = {odd_rank};
  if (odd == Oddity::uneven_sources) ranks.insert(ranks.begin(), Rank{0});
  return not_refused(done, states, ranks, words);
}

Wrong refuses(World& world, const gen::DrawnCase& drawn) {
  world.reset();
  const int ranks = std::max(2, drawn.saved.world_size);
  Draw draw(drawn.seed);
  const Rank odd_rank{1 + draw.below(ranks - 1)};
  const auto odd = static_cast<Oddity>(draw.below(oddities));
  return on_ranks(world, ranks, drawn.seed, [&](const port::Env& env, Rank rank) { return refuses_on(env, rank, odd_rank, odd); });
}

}  // namespace

std::vector<Property> transfer_properties() {
  const auto over = [](Wrong (*holds)(World&, const gen::DrawnCase&)) {
    return [holds](World& world, const gen::DrawOptions& options) {
      return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return holds(world, drawn); });
    };
  };
  return {
      {"transfer",
       "S4 S6 S7 L4 A4",
       "Tensors that move from the memory of ranks to other memory of ranks arrive whole, in any layout, through any budget, and the next "
       "ones, too; one that would move nothing is refused.",
       in_every_world(),
       over(transfers),
       {"transfer.windows", "transfer.own_memory", "transfer.replica_chosen", "property.transfer_empty"}},
      needing(
          2,
          {"transfer-refusals",
           "S4 A1 A3",
           "Memory that is source and destination at once, another dtype or shape, what nobody holds or wants: refused by name on exactly "
           "the ranks that ask for it, before anything is touched.",
           in_host_memory(),
           over(refuses),
           {"transfer.in_place"}})};
}

}  // namespace holdfast::properties
