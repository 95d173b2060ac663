// What a save says it holds, and the happy path through doubles that do nothing (SEED-M rows).
#include <algorithm>

#include "model/expected_metadata.h"
#include "model/global_state.h"
#include "properties/doubles.h"
#include "properties/job.h"
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
    state[tensor.name] = model::GlobalTensor{tensor.dtype, tensor.shape, values.tensors.at(tensor.name)};
    if (!std::holds_alternative<ReplicatedLayout>(tensor.layout)) layouts[tensor.name] = tensor.layout;
  }
  for (const gen::ValueSpec& value : spec.values) state[value.name] = values.values.at(value.name);
  return model::expected_metadata(state, layouts, spec.world_size);
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
  if (planned->entries.size() != expected->entries.size())
    return fmt::format("{} entries, the model has {}", planned->entries.size(), expected->entries.size());
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

template <typename Double>
std::optional<std::string> wrong_calls(const std::vector<std::shared_ptr<Double>>& doubles, Rank coordinator,
                                       const std::vector<std::string>& everywhere, const std::vector<std::string>& on_coordinator) {
  for (std::size_t r = 0; r < doubles.size(); ++r) {
    const auto& expected = static_cast<int>(r) == coordinator.value ? on_coordinator : everywhere;
    if (doubles[r]->calls != expected)
      return fmt::format("rank {} saw the calls {}, expected {}", r, fmt::join(doubles[r]->calls, " "), fmt::join(expected, " "));
  }
  return std::nullopt;
}

/// test_dummy_writer_works, with the order of calls that PyTorch has.
gen::Outcome check_idle_writer(World& world, const gen::DrawOptions& options) {
  return gen::for_all(options, [&](const gen::DrawnCase& drawn) -> std::optional<std::string> {
    world.reset();
    std::vector<std::shared_ptr<IdleWriter>> writers;
    for (int r = 0; r < drawn.saved.world_size; ++r) writers.push_back(std::make_shared<IdleWriter>());
    std::vector<std::string> errors(writers.size());
    const gen::WholeValues values = make_values(drawn.saved, 1);
    const auto problems = world.run(drawn.saved.world_size, drawn.seed, [&](const port::Env& env, Rank rank) {
      const auto r = static_cast<std::size_t>(rank.value);
      const gen::RankState state = make_state(drawn.saved, rank, values);
      protocol::Session session(env, {.coordinator = drawn.coordinator});
      const auto saved = protocol::save(session, state.dict, {.step = Step{1}, .writer = writers[r]});
      if (!saved) errors[r] = to_string(saved.error());
    });
    if (!problems.empty()) return problems.front();
    for (const std::string& error : errors) {
      if (!error.empty()) return error;
    }
    return wrong_calls(writers, drawn.coordinator, {"reset", "set_up_storage_writer", "prepare_local_plan", "write_data"},
                       {"reset", "set_up_storage_writer", "prepare_local_plan", "prepare_global_plan", "write_data", "finish"});
  });
}

/// test_dummy_reader_works.
gen::Outcome check_idle_reader(World& world, const gen::DrawOptions& options) {
  return gen::for_all(options, [&](const gen::DrawnCase& drawn) -> std::optional<std::string> {
    world.reset();
    const Result<Metadata> metadata = planned_metadata(drawn.saved);
    if (!metadata) return fmt::format("{}", metadata.error());
    std::vector<std::shared_ptr<IdleReader>> readers;
    for (int r = 0; r < drawn.loaded.world_size; ++r) readers.push_back(std::make_shared<IdleReader>(*metadata));
    std::vector<std::string> errors(readers.size());
    gen::StateSpec tensors_only = drawn.loaded;  // an idle reader brings no byte values
    tensors_only.values.clear();
    const auto problems = world.run(drawn.loaded.world_size, drawn.seed, [&](const port::Env& env, Rank rank) {
      const auto r = static_cast<std::size_t>(rank.value);
      gen::RankState state = make_destination(tensors_only, rank);
      protocol::Session session(env, {.coordinator = drawn.load_coordinator});
      const auto loaded = protocol::load(session, state.dict, {.reader = readers[r]});
      if (!loaded) errors[r] = to_string(loaded.error());
    });
    if (!problems.empty()) return problems.front();
    for (const std::string& error : errors) {
      if (!error.empty()) return error;
    }
    return wrong_calls(readers, drawn.load_coordinator,
                       {"reset", "read_metadata", "set_up_storage_reader", "prepare_local_plan", "read_data"},
                       {"reset", "read_metadata", "set_up_storage_reader", "prepare_local_plan", "prepare_global_plan", "read_data"});
  });
}

}  // namespace

std::vector<Property> metadata_properties() {
  const std::vector<std::string> everywhere = {"sim", "simgpu", "threads"};
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
