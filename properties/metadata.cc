// What a save says it holds, and the happy path through doubles that do nothing (SEED-M rows).
#include <algorithm>
#include <set>

#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "model/expected_metadata.h"
#include "model/global_state.h"
#include "model/held_elements.h"
#include "properties/doubles.h"
#include "properties/on_ranks.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

/// The metadata that the default planners make of a spec's layouts.
Result<Metadata> planned_metadata(const gen::StateSpec& spec) {
  const gen::WholeValues values = make_values(spec, 1);
  std::vector<SavePlan> plans;
  for (int r = 0; r < spec.world_size; ++r) {
    const gen::RankState state = make_state(spec, Rank{r}, values);
    plans.push_back(TRY(plan::local_save_plan(state.dict)));
  }
  plan::GlobalSavePlan global = TRY(plan::global_save_plan(std::move(plans)));
  return global.metadata;
}

std::optional<Metadata> modelled_metadata(const gen::StateSpec& spec) {
  const gen::WholeValues values = make_values(spec, 1);
  model::GlobalState state;
  model::Layouts layouts;
  for (const gen::TensorSpec& tensor : spec.tensors) {
    if (!model::has_boxes(tensor.layout)) continue;
    state[tensor.name] = model::GlobalTensor{tensor.dtype, tensor.shape, values.tensors.at(tensor.name)};
    if (!std::holds_alternative<ReplicatedLayout>(tensor.layout)) layouts[tensor.name] = tensor.layout;
  }
  for (const gen::ValueSpec& value : spec.values) state[value.name] = values.values.at(value.name);
  return model::expected_metadata(state, layouts, spec.world_size);
}

/// The row-major numbers of the elements of a box.
std::vector<std::int64_t> elements_of(const Box& box, const Dims& shape) {
  const EnumerableLayout one{{{Rank{0}, box}}};
  return model::held_elements(one, shape, Rank{0});
}

/// Chunks of a tensor that is laid out by elements: each element in one chunk, each chunk whole on a rank.
std::optional<std::string> chunks_fit_elements(const gen::TensorSpec& tensor, int world_size, const TensorMetadata& planned) {
  if (planned.dtype != tensor.dtype || planned.shape != tensor.shape) return "another dtype or shape";
  std::vector<std::set<std::int64_t>> held;
  for (int r = 0; r < world_size; ++r) {
    const auto elements = model::held_elements(tensor.layout, tensor.shape, Rank{r});
    held.emplace_back(elements.begin(), elements.end());
  }
  std::set<std::int64_t> stored;
  std::optional<std::string> wrong;
  planned.chunks.for_each([&](ChunkSet::Id id, const Box& box) {
    const auto elements = elements_of(box, tensor.shape);
    const auto whole_on = [&](const std::set<std::int64_t>& rank) {
      return std::ranges::all_of(elements, [&](std::int64_t element) { return rank.contains(element); });
    };
    const bool at_home = planned.chunks.mesh() ? whole_on(held[static_cast<std::size_t>(planned.chunks.holder(id).rank.value)])
                                               : std::ranges::any_of(held, whole_on);
    if (!at_home) wrong = fmt::format("no rank holds the chunk {} that is to write it", to_string(box));
    for (const std::int64_t element : elements) {
      if (!stored.insert(element).second) wrong = fmt::format("element {} is stored twice", element);
    }
  });
  if (!wrong && std::ssize(stored) != whole(tensor.shape).volume()) wrong = fmt::format("{} elements are stored", stored.size());
  return wrong;
}

std::optional<std::string> metadata_is_the_models(const gen::DrawnCase& drawn) {
  const Result<Metadata> planned = planned_metadata(drawn.saved);
  if (!planned) return fmt::format("{}", planned.error());
  const std::optional<Metadata> expected = modelled_metadata(drawn.saved);
  if (!expected) return "the model says that this cannot be saved";
  for (const auto& [key, entry] : expected->entries) {
    const auto found = planned->entries.find(key);
    if (found == planned->entries.end() || found->second != entry) return fmt::format("entry \"{}\" is not what the model says", key);
  }
  for (const gen::TensorSpec& tensor : drawn.saved.tensors) {
    if (model::has_boxes(tensor.layout)) continue;
    const auto found = planned->entries.find(tensor.name);
    const auto* metadata = found == planned->entries.end() ? nullptr : std::get_if<TensorMetadata>(&found->second);
    if (!metadata) return fmt::format("there is no tensor \"{}\"", tensor.name);
    if (auto wrong = chunks_fit_elements(tensor, drawn.saved.world_size, *metadata)) return fmt::format("\"{}\": {}", tensor.name, *wrong);
  }
  const std::size_t keys = drawn.saved.tensors.size() + drawn.saved.values.size();
  if (planned->entries.size() != keys) return fmt::format("{} entries for {} keys", planned->entries.size(), keys);
  return std::nullopt;
}

/// test_tensor_metadata_with_missing_rank_spec: one rank of two holds all rows.
gen::Outcome check_missing_rank(World& /*world*/, const gen::DrawOptions& options) {
  const auto one_chunk = [](const gen::DrawnCase& drawn) -> std::optional<std::string> {
    gen::StateSpec spec;
    spec.world_size = drawn.saved.world_size;
    spec.tensors = {{"sharded", DType::f32, {10, 10}, ChunkLayout{0, {drawn.chosen.front()}}, 0}};
    const Result<Metadata> metadata = planned_metadata(spec);
    if (!metadata) return fmt::format("{}", metadata.error());
    const auto& tensor = std::get<TensorMetadata>(metadata->entries.at("sharded"));
    if (tensor.chunks.size() != 1) return fmt::format("{} chunks, expected 1", tensor.chunks.size());
    if (tensor.chunks.box(0) != whole({10, 10})) return "the chunk is not the whole tensor: " + to_string(tensor.chunks.box(0));
    return std::nullopt;
  };
  return gen::for_all(options, one_chunk);
}

/// test_default_metadata: {sharded 10x10 over two ranks, replicated 4, bytes}.
gen::Outcome check_default_metadata(World& /*world*/, const gen::DrawOptions& options) {
  gen::StateSpec spec;
  spec.world_size = 2;
  spec.tensors = {{"replicated", DType::f32, {4}, ReplicatedLayout{}, 0},
                  {"sharded", DType::f32, {10, 10}, ChunkLayout{0, {Rank{0}, Rank{1}}}, 0}};
  spec.values = {{"bytes", 4}};
  const Result<Metadata> metadata = planned_metadata(spec);
  if (!metadata) return {0, fmt::format("{}", metadata.error()), show(spec)};
  const auto* sharded = std::get_if<TensorMetadata>(&metadata->entries.at("sharded"));
  const auto* replicated = std::get_if<TensorMetadata>(&metadata->entries.at("replicated"));
  if (!std::holds_alternative<BytesMetadata>(metadata->entries.at("bytes"))) return {0, "\"bytes\" is no byte entry", show(spec)};
  if (!sharded || sharded->chunks.size() != 2 || sharded->shape != Dims{10, 10} || sharded->dtype != DType::f32) {
    return {0, "\"sharded\" is not an F32 tensor of shape [10,10] in 2 chunks", show(spec)};
  }
  if (!replicated || replicated->chunks.size() != 1 || replicated->shape != Dims{4} || replicated->dtype != DType::f32) {
    return {0, "\"replicated\" is not an F32 tensor of shape [4] in 1 chunk", show(spec)};
  }
  return gen::for_all(options, metadata_is_the_models);
}

Wrong unlike(const std::vector<std::string>& calls, const std::vector<std::string>& expected) {
  if (calls == expected) return std::nullopt;
  return fmt::format("it saw the calls {}, expected {}", fmt::join(calls, " "), fmt::join(expected, " "));
}

/// test_dummy_writer_works, with the order of calls that PyTorch has.
gen::Outcome check_idle_writer(World& world, const gen::DrawOptions& options) {
  return gen::for_all(options, [&](const gen::DrawnCase& drawn) -> Wrong {
    world.reset();
    const gen::WholeValues values = make_values(drawn.saved, 1);
    return on_ranks(world, drawn.saved.world_size, drawn.seed, drawn.coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
      const gen::RankState state = make_state(drawn.saved, rank, values);
      const auto writer = std::make_shared<IdleWriter>();
      const auto saved = protocol::save(session, state.dict, {.step = Step{1}, .writer = writer});
      if (!saved) return to_string(saved.error());
      if (rank != drawn.coordinator) return unlike(writer->calls, {"reset", "set_up_storage_writer", "prepare_local_plan", "write_data"});
      return unlike(writer->calls, {"reset", "set_up_storage_writer", "prepare_local_plan", "prepare_global_plan", "write_data", "finish"});
    });
  });
}

/// test_dummy_reader_works.
gen::Outcome check_idle_reader(World& world, const gen::DrawOptions& options) {
  return gen::for_all(options, [&](const gen::DrawnCase& drawn) -> Wrong {
    world.reset();
    const Result<Metadata> metadata = planned_metadata(drawn.saved);
    if (!metadata) return fmt::format("{}", metadata.error());
    gen::StateSpec tensors_only = drawn.loaded;  // an idle reader brings no byte values
    tensors_only.values.clear();
    return on_ranks(
        world, drawn.loaded.world_size, drawn.seed, drawn.load_coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
          gen::RankState state = make_destination(tensors_only, rank);
          const auto reader = std::make_shared<IdleReader>(*metadata);
          const auto loaded = protocol::load(session, state.dict, {.reader = reader});
          if (!loaded) return to_string(loaded.error());
          if (rank != drawn.load_coordinator)
            return unlike(reader->calls, {"reset", "read_metadata", "set_up_storage_reader", "prepare_local_plan", "read_data"});
          return unlike(reader->calls,
                        {"reset", "read_metadata", "set_up_storage_reader", "prepare_local_plan", "prepare_global_plan", "read_data"});
        });
  });
}

}  // namespace

std::vector<Property> metadata_properties() {
  const std::vector<std::string> everywhere = in_every_world();
  return {
      {"SEED-M1", "S7", "A tensor whose chunks all lie on one rank has one chunk, whatever the other ranks are.", everywhere,
       check_missing_rank},
      {"SEED-M2", "S7", "The metadata of a save lists kinds, sizes, dtypes and chunks as the model enumerates them.", everywhere,
       check_default_metadata},
      {"SEED-M3", "L1", "A writer that does nothing works, and its hooks are called in PyTorch's order.", everywhere, check_idle_writer},
      {"SEED-L0", "L1", "A reader that does nothing works, and its hooks are called in PyTorch's order.", everywhere, check_idle_reader},
  };
}

}  // namespace holdfast::properties
