// Saves of one session after another, while what their plans depend on changes between them or does not. A plan is used again exactly when a model of what the
// ranks keep says so, and every checkpoint is the one that a session without cached plans writes.
#include <algorithm>
#include <array>
#include <memory>

#include "impl/backend/decorators/faulty_storage.h"
#include "impl/core/mark.h"
#include "impl/core/nested.h"
#include "impl/protocol/files.h"
#include "impl/protocol/load.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/survey.h"
#include "properties/on_ranks.h"
#include "properties/plan_keeping.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

constexpr port::Duration patience = std::chrono::seconds(60);
constexpr std::size_t turns_a_case = 8;

/// What a plan depends on.
struct Variant {
  gen::StateSpec spec;
  std::uint64_t names = 0;    ///< renames() has them
  std::uint64_t nesting = 0;  ///< structure() has it
};

enum class Act { save, save_async, cancel, fail_storage, differ };

struct Turn {
  std::size_t variant = 0;
  Act act = Act::save;
  Rank victim;                   ///< of the act
  std::vector<Rank> begin_anew;  ///< ranks whose session is new
};

struct Story {
  std::vector<Variant> variants;
  std::vector<Turn> turns;
};

KeyMap renames(std::uint64_t names) {
  KeyMap map;
  if (names == 1) map.prefix("", "model.");
  if (names == 2) map.key("no such key", "x");
  if (names == 3) map.key("nor this one", "x");
  return map;
}

std::optional<Structure> structure(const gen::StateSpec& spec, std::uint64_t nesting) {
  if (nesting == 0) return std::nullopt;
  using Names = Tree<std::optional<std::string>>;
  Names::Map map;
  const auto add = [&](const std::string& name) { map.items.push_back({name, {std::optional(name)}}); };
  for (const gen::TensorSpec& tensor : spec.tensors) add(tensor.name);
  for (const gen::ValueSpec& value : spec.values) add(value.name);
  if (nesting == 2) std::ranges::reverse(map.items);
  Structure nested;
  nested.root.value = std::move(map);
  if (nesting < 3) return nested;
  Names::Map outer;
  outer.items.push_back({std::int64_t{0}, std::move(nested.root)});
  nested.root.value = std::move(outer);
  return nested;
}

ChunkLayout chunks(int ranks) {
  ChunkLayout layout{0, {}};
  for (int r = 0; r < ranks; ++r) layout.placements.push_back(Rank{r});
  return layout;
}

void change_tensor(Draw& draw, gen::StateSpec& spec) {
  if (spec.tensors.empty()) return spec.tensors.push_back({"new", DType::f32, {3, 4}, chunks(spec.world_size), 0});
  gen::TensorSpec& tensor = spec.tensors[draw.below(spec.tensors.size())];
  auto* const cut = std::get_if<ChunkLayout>(&tensor.layout);
  switch (draw.below(5)) {
    case 0: tensor.dtype = tensor.dtype == DType::f16 ? DType::bf16 : DType::f16; return;
    case 1: tensor.layout = ReplicatedLayout{}; return;
    case 2:  // known to two ranks only
      if (cut) std::swap(cut->placements[draw.below(cut->placements.size())], cut->placements.front());
      return;
    case 3:
      if (!tensor.shape.empty()) tensor.layout = chunks(spec.world_size);
      return;
    default:
      tensor.layout = ReplicatedLayout{};
      if (!tensor.shape.empty()) ++tensor.shape[0];
  }
}

Variant changed(Draw& draw, Variant variant) {
  gen::StateSpec& spec = variant.spec;
  switch (draw.below(8)) {
    case 0: variant.names = draw.below(4); break;
    case 1: variant.nesting = draw.below(4); break;
    case 2:
      if (!spec.tensors.empty()) spec.tensors.pop_back();
      break;
    case 3:
      if (spec.values.empty()) spec.values.push_back({"a value", 3});
      ++spec.values.front().bytes;
      break;
    default: change_tensor(draw, spec); break;
  }
  return variant;
}

Story draw_story(const gen::DrawnCase& drawn) {
  Draw draw(drawn.seed);
  const auto ranks = static_cast<std::uint64_t>(drawn.saved.world_size);
  const auto any_rank = [&] { return Rank{static_cast<std::int32_t>(draw.below(ranks))}; };
  Story story{{{drawn.saved, draw.below<std::uint64_t>(4), draw.below<std::uint64_t>(4)}}, {}};
  for (std::size_t i = 0; i < turns_a_case; ++i) {
    Turn turn{story.turns.empty() ? 0 : story.turns.back().variant, Act::save, any_rank(), {}};
    if (draw.one_in(4)) turn.variant = draw.below(story.variants.size());
    if (draw.one_in(3)) {
      story.variants.push_back(changed(draw, story.variants[turn.variant]));
      turn.variant = story.variants.size() - 1;
    }
    if (draw.one_in(2)) turn.act = std::array{Act::save_async, Act::cancel, Act::fail_storage, Act::differ}[draw.below(4)];
    if (draw.one_in(8)) turn.begin_anew = {any_rank()};
    if (draw.one_in(12)) {
      turn.begin_anew.clear();
      for (std::int32_t r = 0; r < drawn.saved.world_size; ++r) turn.begin_anew.push_back(Rank{r});
    }
    story.turns.push_back(std::move(turn));
  }
  return story;
}

/// What a rank tells beside its plan, as the model sees it.
Bytes told_beside(const Variant& variant, const StateDict& state) {
  Encoder out;
  out.varint(variant.names);
  if (variant.names == 1) {  // every entry has another name, also one of which the rank holds nothing to plan
    for (const auto& [key, entry] : state.entries()) out.text(key);
  }
  if (const auto nested = structure(variant.spec, variant.nesting)) out.raw(encode(*nested));
  return out.take();
}

/// (That a fingerprint changes with any part of a local plan is the property plan-cache's.)
Result<Keeping::Keys> keys_of(const Variant& variant) {
  const gen::WholeValues values = make_values(variant.spec, 0);
  Keeping::Keys keys;
  for (std::int32_t r = 0; r < variant.spec.world_size; ++r) {
    const gen::RankState state = make_state(variant.spec, Rank{r}, values);
    const SavePlan local = TRY(plan::local_save_plan(state.dict, Rank{r}));
    keys.push_back(plan::fingerprint(local, {.notes = told_beside(variant, state.dict)}));
  }
  return keys;
}

/// Two manifests of one state differ in these alone.
format::Manifest without_attempt(format::Manifest manifest) {
  manifest.attempt = 0;
  manifest.sequence = 0;
  manifest.parent.clear();
  for (format::SegmentRecord& segment : manifest.segments) {  // its header names the directory
    segment.file_bytes -= segment.header_bytes;
    segment.header_bytes = 0;
    segment.header_digest = {};
  }
  return manifest;
}

std::vector<std::string> of_names(const std::vector<std::string>& warnings) {
  std::vector<std::string> found;
  std::ranges::copy_if(warnings, std::back_inserter(found), [](const std::string& warning) { return warning.starts_with("rename"); });
  return found;
}

/// One rank lives through the story.
class Life {
 public:
  /// `storage`: the rank's, in front of that of `plain`. Writing that a save gave up may use it after this object.
  Life(const gen::DrawnCase& drawn, const Story& story, const std::vector<Keeping::Keys>& keys, protocol::Session& plain,
       backend::FaultyStorage& storage, Rank rank)
      : drawn_(drawn), story_(story), keys_(keys), plain_(plain), rank_(rank), storage_(storage), doors_(plain.env()),
        env_{doors_.net, doors_.data, storage_, doors_.device, doors_.clock, doors_.tasks, doors_.observer},
        keeping_(static_cast<std::size_t>(drawn.saved.world_size), drawn.coordinator) {
    begin();
  }

  Wrong live() {
    // The first save of a folder makes a file more, which fail_storage is not for.
    const auto first = protocol::save(plain_, {}, {});
    if (!first) return "the first save: " + to_string(first.error());
    for (turn_ = 0; turn_ < story_.turns.size(); ++turn_) {
      if (auto wrong = take_turn(story_.turns[turn_])) return fmt::format("save {}: {}", turn_, *wrong);
    }
    return std::nullopt;
  }

 private:
  using Ended = protocol::Checkpointed<protocol::Saved>;

  /// A process that takes the place of one that is gone: it takes part in the same saves, and keeps no plans.
  void begin() {
    session_ = std::make_unique<protocol::Session>(env_, protocol::SessionOptions{.coordinator = drawn_.coordinator, .channel = 2});
    for (std::size_t i = 0; i < turn_; ++i) session_->comm().begin("before its time");
  }

  Wrong take_turn(const Turn& turn) {
    const Variant& variant = story_.variants[turn.variant];
    const Keeping::Keys& keys = keys_[turn.variant];
    for (const Rank rank : turn.begin_anew) {
      keeping_.forget(rank);
      if (rank == rank_) begin();
    }
    const std::size_t claims = keeping_.claims(keys);
    const bool differ =
        turn.act == Act::differ && drawn_.saved.world_size > 1 && !variant.spec.values.empty() && variant.spec.values.front().bytes > 0;
    const bool cached = keeping_.is_cached(keys) && !differ;
    const std::uint64_t rounds = (claims > 0 && !cached ? 2u : 1u) + (differ ? 0u : 1u);

    const gen::WholeValues values = make_values(variant.spec, drawn_.seed + turn_);
    gen::RankState state = make_state(variant.spec, rank_, values);
    if (differ && rank_ == turn.victim) value_of(state, variant).at(0) ^= std::byte{1};
    const std::uint64_t rounds_before = session_->comm().traffic().rounds;
    const Ended outcome = save(turn, variant, state);
    const std::uint64_t rounds_taken = session_->comm().traffic().rounds - rounds_before;
    if (rounds_taken != rounds) {
      const std::string ended = outcome ? outcome->directory : to_string(outcome.error());
      return fmt::format("{} rounds, expected {} with {} claims: {}", rounds_taken, rounds, claims, ended);
    }
    if (differ) return refused(outcome);
    if (!outcome) return failed_by_the_act(outcome.error(), turn);
    if (outcome->plan_was_cached != cached)
      return cached ? "the plan is made anew, expected the one that every rank keeps" : "a plan is used that some rank should not keep";
    if (!cached) keeping_.made_anew(keys);
    if (auto wrong = loads(variant, values, outcome->directory)) return wrong;
    return like_without_cache(variant, values, *outcome);
  }

  static Bytes& value_of(gen::RankState& state, const Variant& variant) {
    return std::get<BytesEntry>(*state.dict.find(variant.spec.values.front().name)).value;
  }

  protocol::SaveOptions options(const Variant& variant) const {
    return {.step = Step{static_cast<std::int64_t>(turn_)},
            .block_bytes = drawn_.block_bytes,
            .keys = renames(variant.names),
            .structure = structure(variant.spec, variant.nesting)};
  }

  Ended save(const Turn& turn, const Variant& variant, gen::RankState& state) {
    const bool chosen = turn.victim == rank_;
    if (turn.act == Act::fail_storage && chosen) {
      const std::uint64_t next = storage_.calls(backend::StorageOp::create) + 1;
      storage_.plant({backend::StorageOp::create, next, error(ErrorCode::injected, "no file today")});
    }
    if (turn.act != Act::save_async && turn.act != Act::cancel) return protocol::save(*session_, state.dict, options(variant));
    auto pending = protocol::async_save(*session_, state.dict, options(variant));
    if (!pending) return tl::unexpected(std::move(pending).error());
    if (turn.act == Act::cancel && chosen) pending->cancel();
    if (auto outcome = pending->wait(doors_.clock.after(patience))) return *std::move(outcome);
    return tl::unexpected(CheckpointError{"pending", Outcome::unknown, {}, {}});
  }

  static Wrong refused(const Ended& outcome) {
    if (outcome) return "ranks that have different values under one key are not told";
    if (outcome.error().step != "plan" || to_string(outcome.error()).find("bytes with digest") == std::string::npos)
      return to_string(outcome.error());
    MARK("property.values_differed");
    return std::nullopt;
  }

  /// A fault may also wait for the first save in which the rank makes a file.
  static Wrong failed_by_the_act(const CheckpointError& error, const Turn& turn) {
    const std::string told = to_string(error);
    if (error.step == "write" && error.outcome == Outcome::failed) {
      if (turn.act == Act::cancel && error.failures.ranks() == std::vector{turn.victim}) return std::nullopt;
      if (told.find("no file today") != std::string::npos) {
        MARK("property.save_between_failed");
        return std::nullopt;
      }
    }
    return told;
  }

  Wrong loads(const Variant& variant, const gen::WholeValues& values, const std::string& directory) {
    gen::RankState state = make_destination(variant.spec, rank_);
    const auto loaded = protocol::load(plain_, state.dict, {.keys = renames(variant.names)});
    if (!loaded) return "load: " + to_string(loaded.error());
    if (loaded->directory != directory) return fmt::format("{} was saved, and {} is loaded", directory, loaded->directory);
    return difference(state, variant.spec, rank_, values);
  }

  Wrong like_without_cache(const Variant& variant, const gen::WholeValues& values, const protocol::Saved& saved) {
    const gen::RankState state = make_state(variant.spec, rank_, values);
    protocol::SaveOptions plain = options(variant);
    plain.enable_plan_caching = false;
    const auto other = protocol::save(plain_, state.dict, plain);
    if (!other) return "save without cached plans: " + to_string(other.error());
    if (other->plan_was_cached) return "a plan is cached though that was not asked for";
    if (of_names(saved.warnings) != of_names(other->warnings))
      return fmt::format("warnings {}, expected {}", of_names(saved.warnings), of_names(other->warnings));
    if (rank_ != drawn_.coordinator) return std::nullopt;
    const auto one = manifest(saved.directory);
    const auto expected = manifest(other->directory);
    if (!one || !expected) return fmt::format("{}", (one ? expected : one).error());
    return *one == *expected ? std::nullopt : Wrong("the manifest is not the one that a save without cached plans writes");
  }

  Result<format::Manifest> manifest(const std::string& directory) const {
    const std::string path = protocol::join(directory, protocol::manifest_name);
    const SharedBytes bytes = TRY(protocol::read_file(doors_.storage, path, 1 << 20, doors_.clock.after(patience)));
    const format::ManifestReader reader = TRY(format::ManifestReader::open(bytes, path));
    return without_attempt(reader.decode());
  }

  const gen::DrawnCase& drawn_;
  const Story& story_;
  const std::vector<Keeping::Keys>& keys_;
  protocol::Session& plain_;  ///< of another channel: saves without cached plans, and loads
  Rank rank_;
  backend::FaultyStorage& storage_;
  port::Env doors_;
  port::Env env_;  ///< with storage_ in front
  Keeping keeping_;
  std::size_t turn_ = 0;
  std::unique_ptr<protocol::Session> session_;
};

Wrong saves_are_alike(World& world, const gen::DrawnCase& drawn) {
  const Story story = draw_story(drawn);
  std::vector<Keeping::Keys> keys;
  for (const Variant& variant : story.variants) {
    auto of_variant = keys_of(variant);
    if (!of_variant) return fmt::format("{}", of_variant.error());
    keys.push_back(*std::move(of_variant));
  }
  std::vector<std::unique_ptr<backend::FaultyStorage>> storages(static_cast<std::size_t>(drawn.saved.world_size));
  world.reset();
  return on_ranks(world, drawn.saved.world_size, drawn.seed, drawn.coordinator, [&](protocol::Session& plain, Rank rank) {
    auto& storage = storages[static_cast<std::size_t>(rank.value)];
    storage = std::make_unique<backend::FaultyStorage>(plain.env().storage);
    Life life(drawn, story, keys, plain, *storage, rank);
    return life.live();
  });
}

}  // namespace

std::vector<Property> saves_again_properties() {
  return {{"saves-again",
           "S1 S4 S5 S7",
           "A save uses the plan of an earlier one exactly when nothing that the plan depends on has changed and every rank keeps it, and "
           "the checkpoint is the "
           "one that a save without cached plans writes.",
           in_host_memory(),
           [](World& world, const gen::DrawOptions& options) {
             return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return saves_are_alike(world, drawn); });
           },
           {"save.plan_cached", "save.plan_kept_by_some", "save.plans_kept_do_not_fit", "save.cancelled", "property.values_differed",
            "property.save_between_failed"}}};
}

}  // namespace holdfast::properties
