// Values that each rank has its own of, and values that must be the same on all: neither is taken for the other.
#include <algorithm>
#include <map>

#include "impl/core/mark.h"
#include "impl/plan/replicas.h"
#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "properties/device_state.h"
#include "properties/on_ranks.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

constexpr RankPolicy policies[] = {RankPolicy::same_rank, RankPolicy::modulo, RankPolicy::first, RankPolicy::drop};

Bytes rank_value(Rank rank, std::string_view name) {
  Bytes value = to_bytes(as_bytes(name));
  value.push_back(static_cast<std::byte>(rank.value));
  return value;
}

/// Whose value a rank gets; none: it keeps what it has; an error is told by a rank below 0.
std::optional<Rank> whose(RankPolicy policy, Rank rank, int saved, int loaded) {
  switch (policy) {
    case RankPolicy::same_rank: return saved == loaded ? rank : Rank{-1};
    case RankPolicy::modulo: return Rank{rank.value % saved};
    case RankPolicy::first: return Rank{0};
    case RankPolicy::drop: break;
  }
  return saved == loaded ? std::optional(rank) : std::nullopt;
}

Wrong check_error(const CheckpointError& error, std::string_view name, RankPolicy policy) {
  const std::string told = to_string(error);
  const bool named = told.find(fmt::format("\"{}\"", name)) != std::string::npos && told.find(to_string(policy)) != std::string::npos;
  return named ? std::nullopt : Wrong("another error than that of the policy: " + told);
}

Wrong check_value(const Bytes& found, std::string_view name, std::optional<Rank> from) {
  const Bytes expected = from ? rank_value(*from, name) : to_bytes(as_bytes("kept"));
  return found == expected
             ? std::nullopt
             : Wrong(fmt::format("\"{}\" is {} bytes that rank {} did not save", name, found.size(), from.value_or(Rank{-1})));
}

/// By a template with a policy of its own.
Wrong load_by_template(protocol::Session& session, Rank rank, int saved, int ranks, std::string_view name, RankPolicy policy) {
  StateDict state;
  const Status added = state.add_rank_bytes(std::string(name), to_bytes(as_bytes("kept")), policy);
  if (!added) return fmt::format("{}", added.error());
  const auto loaded = protocol::load(session, state, {.only = {.keys = {std::string(name)}}});
  const auto from = whose(policy, rank, saved, ranks);
  if (from == Rank{-1}) return loaded ? Wrong("another number of ranks is not refused") : check_error(loaded.error(), name, policy);
  if (!loaded) return to_string(loaded.error());
  if (!loaded->keys.unexpected.empty()) return fmt::format("\"{}\" is told unexpected", loaded->keys.unexpected.front());
  return check_value(std::get<BytesEntry>(*state.find(name)).value, name, from);
}

/// Without one: by the policy of the save.
Wrong load_anew(protocol::Session& session, Rank rank, int saved, int ranks, std::string_view name, RankPolicy policy) {
  const auto loaded = protocol::load_new(session, {}, {.plan = {.strict = false}, .only = {.keys = {std::string(name)}}});
  const auto from = whose(policy, rank, saved, ranks);
  if (from == Rank{-1}) return loaded ? Wrong("another number of ranks is not refused") : check_error(loaded.error(), name, policy);
  if (!loaded) return to_string(loaded.error());
  const auto* entry = loaded->made.state.find(name);
  if (!from) return entry ? Wrong("there is a value, of no rank") : std::nullopt;
  if (!entry) return fmt::format("no \"{}\"", name);
  return check_value(std::get<BytesEntry>(*entry).value, name, from);
}

Wrong ranks_get_their_own(World& world, const gen::DrawnCase& drawn) {
  Draw draw(drawn.seed);
  const int ranks = drawn.saved.world_size;
  const int loading = draw.one_in(3) ? ranks : drawn.loaded.world_size;
  const Rank load_coordinator{drawn.load_coordinator.value % loading};
  const std::string name = draw.one_in(2) ? "rng" : "0-of-2/first/rng";
  const RankPolicy kept = policies[draw.below(std::size(policies))];
  const RankPolicy asked = policies[draw.below(std::size(policies))];
  world.reset();
  auto wrong = on_ranks(world, ranks, drawn.seed, drawn.coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
    StateDict state;
    for (const Status& added : {state.add_rank_bytes(name, rank_value(rank, name), kept), state.add_bytes("step", {std::byte{7}})}) {
      if (!added) return fmt::format("{}", added.error());
    }
    const auto saved = protocol::save(session, state, {.step = Step{1}});
    return saved ? std::nullopt : Wrong(to_string(saved.error()));
  });
  if (wrong) return "save: " + *wrong;
  if (loading != ranks && asked == RankPolicy::modulo && loading > ranks) MARK("property.rank_values_by_more_ranks");
  wrong = on_ranks(world, loading, drawn.seed, load_coordinator,
                   [&](protocol::Session& session, Rank rank) { return load_by_template(session, rank, ranks, loading, name, asked); });
  if (wrong) return fmt::format("load by {}: {}", to_string(asked), *wrong);
  wrong = on_ranks(world, loading, drawn.seed, load_coordinator,
                   [&](protocol::Session& session, Rank rank) { return load_anew(session, rank, ranks, loading, name, kept); });
  return wrong ? Wrong(fmt::format("load anew by {}: {}", to_string(kept), *wrong)) : std::nullopt;
}

/// One rank has another value under a key of all.
Wrong values_that_differ_are_refused(World& world, const gen::DrawnCase& drawn) {
  const int ranks = std::max(2, drawn.saved.world_size);
  Draw draw(drawn.seed);
  const Rank odd{static_cast<std::int32_t>(draw.below(static_cast<std::uint64_t>(ranks)))};
  const std::size_t bytes = 1 + draw.below(40);
  const std::size_t bit = draw.below(8 * bytes);
  world.reset();
  return on_ranks(world, ranks, drawn.seed, drawn.coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
    Bytes value(bytes, std::byte{0x5a});
    if (rank == odd) value[bit / 8] ^= std::byte{1} << (bit % 8);
    StateDict state;
    if (const Status added = state.add_bytes("rng", std::move(value)); !added) return fmt::format("{}", added.error());
    const auto saved = protocol::save(session, state, {.step = Step{1}});
    if (saved) return fmt::format("rank {}'s value differs in bit {}, and the save passes", odd, bit);
    const std::string told = to_string(saved.error());
    const bool named = told.find("\"rng\"") != std::string::npos && told.find(fmt::format("on rank {}", odd)) != std::string::npos;
    return named ? std::nullopt : Wrong(told);
  });
}

// Replicas.

/// An element of a tensor that some rank holds, and all that hold it.
struct Element {
  const gen::TensorSpec* tensor = nullptr;
  Rank rank;
  std::size_t shard = 0;
  Dims at;  ///< of the whole tensor
  std::vector<Rank> holders;
};

std::optional<Element> draw_element(Draw& draw, const gen::StateSpec& spec) {
  std::vector<Element> all;
  for (const gen::TensorSpec& tensor : spec.tensors) {
    for (Rank rank{0}; rank.value < spec.world_size; ++rank.value) {
      const auto boxes = local_boxes(tensor.layout, tensor.shape, rank);
      for (std::size_t i = 0; boxes && i < boxes->size(); ++i) {
        if (!(*boxes)[i].empty()) all.push_back({&tensor, rank, i, (*boxes)[i].offset, {}});
      }
    }
  }
  if (all.empty()) return std::nullopt;
  Element element = all[draw.below(all.size())];
  const Box box = (*local_boxes(element.tensor->layout, element.tensor->shape, element.rank))[element.shard];
  for (std::size_t d = 0; d < element.at.size(); ++d)
    element.at[d] += static_cast<std::int64_t>(draw.below(static_cast<std::uint64_t>(box.size[d])));
  const Box one{element.at, Dims(element.at.size(), 1)};
  for (Rank rank{0}; rank.value < spec.world_size; ++rank.value) {
    const auto boxes = local_boxes(element.tensor->layout, element.tensor->shape, rank);
    if (std::ranges::any_of(*boxes, [&](const Box& of) { return contains(of, one); })) element.holders.push_back(rank);
  }
  return element;
}

void flip(gen::RankState& state, const Element& element, std::uint64_t bit) {
  LocalShard& shard = std::get<TensorEntry>(*state.dict.find(element.tensor->name)).shards[element.shard];
  std::byte* at = shard.memory.data;
  for (std::size_t d = 0; d < element.at.size(); ++d) at += (element.at[d] - shard.box.offset[d]) * shard.memory.strides_bytes[d];
  at[bit / 8] ^= std::byte{1} << (bit % 8);
}

/// Saves with replicas compared; `flipped` is changed by one bit on its rank.
Wrong save_compared(World& world, const gen::DrawnCase& drawn, const std::optional<Element>& flipped, std::uint64_t bit,
                    protocol::Replicas replicas) {
  world.reset();
  const gen::WholeValues values = make_values(drawn.saved, drawn.seed);
  std::vector<Rank> named;
  if (flipped && flipped->holders.size() > 2) named = {flipped->rank};
  if (flipped && flipped->holders.size() == 2) named = flipped->holders;
  return on_ranks(world, drawn.saved.world_size, drawn.seed, drawn.coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
    gen::RankState state = make_state(drawn.saved, rank, values);
    if (flipped && flipped->rank == rank) flip(state, *flipped, bit);
    auto on_device = move_to_device(world, state, session.env());
    const auto saved = protocol::save(session, state.dict, {.step = Step{1}, .block_bytes = 64, .replicas = replicas});
    if (named.empty() || replicas == protocol::Replicas::warn) {
      if (!saved) return to_string(saved.error());
      if (saved->warnings.empty() == named.empty()) return std::nullopt;
      return named.empty() ? "equal replicas are told to differ: " + saved->warnings.front() : "no warning of replicas that differ";
    }
    if (saved) return fmt::format("bit {} of \"{}\" differs on rank {}, and the save passes", bit, flipped->tensor->name, flipped->rank);
    const CheckpointError& error = saved.error();
    if (error.outcome != Outcome::failed || error.failures.ranks() != named) return "other ranks are blamed: " + to_string(error);
    return to_string(error).find(fmt::format("\"{}\"", flipped->tensor->name)) == std::string::npos ? Wrong(to_string(error))
                                                                                                    : std::nullopt;
  });
}

Wrong replicas_are_compared(World& world, const gen::DrawnCase& drawn) {
  if (auto wrong = save_compared(world, drawn, std::nullopt, 0, protocol::Replicas::refuse)) return "equal replicas: " + *wrong;
  Draw draw(drawn.seed);
  const auto element = draw_element(draw, drawn.saved);
  if (!element) return std::nullopt;
  if (element->holders.size() > 2) MARK("property.replica_of_three_flipped");
  if (element->holders.size() == 2) MARK("property.replica_of_two_flipped");
  const std::uint64_t bit = draw.below(8 * size_bytes(element->tensor->dtype));
  if (auto wrong = save_compared(world, drawn, element, bit, protocol::Replicas::refuse)) return wrong;
  return save_compared(world, drawn, element, bit, protocol::Replicas::warn);
}

/// Digests alone: of some holders of one box, each has one of three that differ in one lane.
Wrong digests_are_compared(const gen::DrawnCase& drawn) {
  Draw draw(drawn.seed);
  const TensorDigest versions[] = {{{7, 9}}, {{7, 8}}, {{6, 9}}};
  const auto ranks = static_cast<std::size_t>(2 + draw.below(6));
  const std::size_t writer = draw.below(ranks);
  std::vector<std::size_t> version(ranks);
  std::map<std::size_t, std::size_t> count;
  for (std::size_t& of : version) {
    of = draw.one_in(3) ? draw.below(3) : 0;
    ++count[of];
  }
  Metadata metadata;
  metadata.entries.emplace("w", TensorMetadata{DType::f32, {4}, ChunkSet({whole({4})}, {4})});
  std::vector<std::vector<plan::HeldBox>> held(ranks);
  for (std::size_t r = 0; r < ranks; ++r) {
    if (r != writer) held[r] = {{"w", whole({4}), versions[version[r]]}};
  }
  const std::vector<plan::WrittenChunk> written{{"w", {0}, versions[version[writer]], Rank{static_cast<std::int32_t>(writer)}}};
  std::vector<Rank> expected;
  for (std::size_t r = 0; r < ranks; ++r) {
    const bool most = 2 * count[version[r]] > ranks;
    if (count.size() > 1 && !most) expected.push_back(Rank{static_cast<std::int32_t>(r)});
  }
  const auto differences = plan::compare_replicas(metadata, written, held);
  const std::vector<Rank> found = differences.empty() ? std::vector<Rank>() : differences.front().ranks;
  if (found == expected) return std::nullopt;
  return fmt::format("versions {} written by rank {}: ranks {} are named, expected {}", fmt::join(version, ","), writer,
                     fmt::join(found, ","), fmt::join(expected, ","));
}

using Holds = Wrong (*)(World&, const gen::DrawnCase&);

Property property(std::string id, std::string invariants, std::string statement, std::vector<std::string> worlds, Holds holds,
                  std::vector<std::string> marks = {}, std::string_view why_not_elsewhere = {}) {
  const auto check = [holds](World& world, const gen::DrawOptions& options) {
    return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return holds(world, drawn); });
  };
  return {std::move(id), std::move(invariants), std::move(statement), std::move(worlds), check, std::move(marks), why_not_elsewhere};
}

}  // namespace

std::vector<Property> per_rank_properties() {
  const auto digests = [](World&, const gen::DrawnCase& drawn) { return digests_are_compared(drawn); };
  return {
      property("rank-values", "S4 A3",
               "Of values that each rank saved its own of, every rank gets the one that the policy says, or all are told why not.",
               in_host_memory(), ranks_get_their_own, {"load.rank_value_dropped", "property.rank_values_by_more_ranks"}),
      needing(2, property("values-agree", "S4 A1 A3", "A byte value of all ranks that differs on one is refused, and the rank named.",
                          in_host_memory(), values_that_differ_are_refused)),
      property("rule-replicas", "A1", "Of the holders of a box, those are named whose digest is not that of more than half.", {"sim"},
               digests, {}, asks_nothing_of_a_world),
      property("replicas", "S4 A1 A3 A4",
               "Where replicas are compared, one flipped bit fails the save and exactly its rank is named, both where two hold it; equal "
               "ones pass.",
               in_every_world(), replicas_are_compared,
               {"save.replicas_digested", "property.replica_of_three_flipped", "property.replica_of_two_flipped"}),
  };
}

}  // namespace holdfast::properties
