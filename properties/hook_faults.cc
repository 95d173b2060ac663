// The failure rows of PyTorch's test_checkpoint.py (S: save, L: load, N: without a network), each over any world, ranks and layouts.
//
// In each: every rank gets a CheckpointError; its failed ranks are exactly those that the model names; each error is the injected one; the previous
// checkpoint still loads bit for bit, or the destination is untouched; nothing hangs and nothing is leaked.
#include <algorithm>

#include "impl/core/mark.h"
#include "model/expected_failures.h"
#include "properties/doubles.h"
#include "properties/job.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

using model::Hook;
using model::Operation;

struct Row {
  std::string id;
  Operation operation;
  Hook hook;
  bool no_dist = false;
  /// The case of the original test: 4 ranks, these coordinator and rank.
  int coordinator = 0;
  int failing = 0;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"SEED-S1", Operation::save, Hook::set_up_storage_writer, false, 0, 0},
      {"SEED-S2", Operation::save, Hook::finish, false, 0, 0},
      {"SEED-S3", Operation::save, Hook::prepare_global_plan, false, 0, 0},
      {"SEED-S4", Operation::save, Hook::prepare_local_plan, false, 0, 0},
      {"SEED-S5", Operation::save, Hook::write_data, false, 0, 2},
      {"SEED-S6", Operation::save, Hook::write_data_async, false, 0, 3},
      {"SEED-S7", Operation::save, Hook::set_up_storage_writer, false, 1, 1},
      {"SEED-S8", Operation::save, Hook::finish, false, 1, 1},
      {"SEED-L1", Operation::load, Hook::set_up_storage_reader, false, 0, 0},
      {"SEED-L2", Operation::load, Hook::prepare_global_plan, false, 0, 0},
      {"SEED-L3", Operation::load, Hook::read_metadata, false, 0, 0},
      {"SEED-L4", Operation::load, Hook::prepare_local_plan, false, 0, 1},
      {"SEED-L5", Operation::load, Hook::read_data, false, 0, 3},
      {"SEED-L6", Operation::load, Hook::read_data_async, false, 0, 1},
      {"SEED-L7", Operation::load, Hook::set_up_storage_reader, false, 3, 0},
      {"SEED-L8", Operation::load, Hook::read_metadata, false, 1, 3},
      {"SEED-L9", Operation::load, Hook::read_data, false, 2, 0},
      {"SEED-L10", Operation::load, Hook::read_data_async, false, 3, 2},
      {"SEED-L11", Operation::load, Hook::prepare_global_plan, false, 1, 1},
      {"SEED-NS1", Operation::save, Hook::set_up_storage_writer, true},
      {"SEED-NS2", Operation::save, Hook::finish, true},
      {"SEED-NS3", Operation::save, Hook::prepare_global_plan, true},
      {"SEED-NS4", Operation::save, Hook::prepare_local_plan, true},
      {"SEED-NS5", Operation::save, Hook::write_data, true},
      {"SEED-NS6", Operation::save, Hook::write_data_async, true},
      {"SEED-NL1", Operation::load, Hook::set_up_storage_reader, true},
      {"SEED-NL2", Operation::load, Hook::read_metadata, true},
      {"SEED-NL3", Operation::load, Hook::prepare_local_plan, true},
      {"SEED-NL4", Operation::load, Hook::prepare_global_plan, true},
      {"SEED-NL5", Operation::load, Hook::read_data, true},
      {"SEED-NL6", Operation::load, Hook::read_data_async, true},
  };
  return all;
}

bool on_coordinator_only(Hook hook) { return hook == Hook::finish || hook == Hook::prepare_global_plan; }

/// The faults of a case: the row's hook on the chosen ranks. For a hook of the coordinator alone, on the coordinator half of the time (else the chosen
/// ranks may miss it, and the operation must succeed).
std::vector<model::InjectedFault> faults_of(const Row& row, const std::vector<Rank>& chosen, Rank coordinator, std::uint64_t seed) {
  std::vector<Rank> ranks = chosen;
  if (on_coordinator_only(row.hook) && seed % 2 == 0 && std::ranges::find(ranks, coordinator) == ranks.end()) ranks.push_back(coordinator);
  std::ranges::sort(ranks);
  return {{row.hook, ranks}};
}

std::optional<std::string> compare(const std::vector<std::optional<CheckpointError>>& errors,
                                   const std::optional<model::ExpectedFailure>& expected, Hook hook) {
  for (std::size_t r = 0; r < errors.size(); ++r) {
    if (!expected && errors[r]) return fmt::format("rank {}: {}, but no hook that runs fails", r, to_string(*errors[r]));
    if (!expected) continue;
    if (!errors[r]) return fmt::format("rank {} reports success, expected failed ranks {}", r, fmt::join(expected->ranks, ","));
    const CheckpointError& error = *errors[r];
    if (error.step != expected->step || error.failures.ranks() != expected->ranks || !error.lost.empty() ||
        error.outcome != Outcome::failed) {
      return fmt::format("rank {}: {}, expected step {} and failed ranks {}", r, to_string(error), expected->step,
                         fmt::join(expected->ranks, ","));
    }
    for (const Rank failed : expected->ranks) {
      if (*error.failures.find(failed) != injected_error(hook, failed)) {
        return fmt::format("rank {}: rank {} failed with {}, expected {}", r, failed, *error.failures.find(failed),
                           injected_error(hook, failed));
      }
    }
  }
  return std::nullopt;
}

std::optional<std::string> save_row(const Row& row, World& world, const gen::DrawnCase& drawn) {
  const auto faults = faults_of(row, drawn.chosen, drawn.coordinator, drawn.seed);
  const auto expected = model::expected_failures(Operation::save, drawn.saved.world_size, drawn.coordinator, faults);
  if (!expected) MARK("property.hook_not_reached");
  const gen::WholeValues old_values = make_values(drawn.saved, 1);
  const gen::WholeValues new_values = make_values(drawn.saved, 2);
  JobOptions options{.seed = drawn.seed, .coordinator = drawn.coordinator, .no_dist = row.no_dist, .block_bytes = drawn.block_bytes};
  world.reset();
  if (auto wrong = not_saved(save_job(world, drawn.saved, old_values, options))) return "first save: " + *wrong;

  options.step = Step{2};
  options.writer = [&](const port::Env& env, Rank rank, std::shared_ptr<protocol::StorageWriter> inner) {
    return std::make_shared<FaultyWriter>(std::move(inner), FaultyRank{rank, faults, &env.tasks});
  };
  const SaveReport faulty = save_job(world, drawn.saved, new_values, options);
  if (!faulty.problems.empty()) return faulty.problems.front();
  if (auto wrong = compare(faulty.errors, expected, row.hook)) return wrong;

  const gen::StateSpec& loading = row.no_dist ? drawn.saved : drawn.loaded;
  const Rank coordinator = row.no_dist ? Rank{0} : drawn.load_coordinator;
  const JobOptions load_options{.seed = drawn.seed + 1, .coordinator = coordinator, .no_dist = row.no_dist};
  if (auto wrong = not_loaded(load_job(world, loading, expected ? old_values : new_values, load_options))) return "afterwards: " + *wrong;
  return std::nullopt;
}

std::optional<std::string> load_row(const Row& row, World& world, const gen::DrawnCase& drawn) {
  const gen::StateSpec& loading = row.no_dist ? drawn.saved : drawn.loaded;
  const Rank coordinator = row.no_dist ? Rank{0} : drawn.load_coordinator;
  const auto faults = faults_of(row, row.no_dist ? drawn.chosen : drawn.load_chosen, coordinator, drawn.seed);
  const auto expected = model::expected_failures(Operation::load, loading.world_size, coordinator, faults);
  if (!expected) MARK("property.hook_not_reached");
  const gen::WholeValues values = make_values(drawn.saved, 1);
  world.reset();
  const SaveReport saved =
      save_job(world, drawn.saved, values,
               {.seed = drawn.seed, .coordinator = drawn.coordinator, .no_dist = row.no_dist, .block_bytes = drawn.block_bytes});
  if (auto wrong = not_saved(saved)) return "save: " + *wrong;

  JobOptions options{.seed = drawn.seed + 1, .coordinator = coordinator, .no_dist = row.no_dist, .directory = saved.directory};
  options.reader = [&](const port::Env& env, Rank rank, std::shared_ptr<protocol::StorageReader> inner) {
    return std::make_shared<FaultyReader>(std::move(inner), FaultyRank{rank, faults, &env.tasks});
  };
  const LoadReport faulty = load_job(world, loading, values, options);
  if (!faulty.problems.empty()) return faulty.problems.front();
  if (auto wrong = compare(faulty.errors, expected, row.hook)) return wrong;
  for (const auto& difference : faulty.differences) {
    if (difference) return "the destination: " + *difference;
  }
  options.reader = {};
  if (auto wrong = not_loaded(load_job(world, loading, values, options))) return "afterwards: " + *wrong;
  return std::nullopt;
}

/// The numbers of the original test before any drawn ones.
gen::DrawnCase original(const Row& row) {
  gen::DrawnCase drawn;
  const int ranks = row.no_dist ? 1 : 4;
  drawn.saved.world_size = ranks;
  ChunkLayout chunks{0, {}};
  for (int r = 0; r < ranks; ++r) chunks.placements.push_back(Rank{r});
  drawn.saved.tensors = {{"replicated", DType::f32, {10, 10}, ReplicatedLayout{}, 0}, {"sharded", DType::f32, {10, 10}, chunks, 0}};
  drawn.saved.values = {{"bytes", 4}};
  drawn.loaded = drawn.saved;
  drawn.coordinator = drawn.load_coordinator = Rank{row.coordinator};
  drawn.chosen = drawn.load_chosen = {Rank{row.failing}};
  drawn.seed = 2;  // even: faults_of
  return drawn;
}

/// Without a network every process is a job of its own: one rank.
gen::DrawnCase alone(gen::DrawnCase drawn) {
  for (gen::StateSpec* spec : {&drawn.saved, &drawn.loaded}) {
    spec->world_size = 1;
    for (gen::TensorSpec& tensor : spec->tensors) {
      if (auto* chunks = std::get_if<ChunkLayout>(&tensor.layout)) {
        std::ranges::fill(chunks->placements, Rank{0});
      } else {
        tensor.layout = ReplicatedLayout{};
      }
    }
  }
  drawn.coordinator = drawn.load_coordinator = Rank{0};
  drawn.chosen = drawn.load_chosen = {Rank{0}};
  return drawn;
}

gen::Outcome check_row(const Row& row, World& world, const gen::DrawOptions& options) {
  const auto holds = [&](const gen::DrawnCase& drawn) {
    const gen::DrawnCase fitted = row.no_dist ? alone(drawn) : drawn;
    return row.operation == Operation::save ? save_row(row, world, fitted) : load_row(row, world, fitted);
  };
  const gen::DrawnCase first = original(row);
  const bool fits = first.saved.world_size <= world.ranks_max();  // else the drawn ones must do
  if (const auto wrong = fits ? holds(first) : std::nullopt) return {0, *wrong, show(first)};
  return gen::for_all(options, holds);
}

}  // namespace

std::vector<Property> hook_fault_properties() {
  std::vector<Property> properties;
  for (const Row& row : rows()) {
    properties.push_back(
        {row.id, "A1 A3 S3 S5 L1 L4",
         fmt::format("When {} fails on any ranks during a {}{}, exactly those are named on every rank, and nothing older is hurt.",
                     model::to_string(row.hook), row.operation == Operation::save ? "save" : "load",
                     row.no_dist ? " without a network" : ""),
         in_every_world(), [&row](World& world, const gen::DrawOptions& options) { return check_row(row, world, options); }});
  }
  return properties;
}

}  // namespace holdfast::properties
