// S4, S7: what is loaded is what was saved, bit for bit, under any layouts of the saving and the loading job.
#include "impl/core/mark.h"
#include "properties/job.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

using Holds = std::function<std::optional<std::string>(World&, const gen::DrawnCase&)>;

gen::Outcome check(World& world, const gen::DrawOptions& options, const Holds& holds) {
  return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return holds(world, drawn); });
}

std::optional<std::string> saves_then_loads(World& world, const gen::DrawnCase& drawn, const gen::StateSpec& loading, Rank coordinator) {
  world.reset();
  const gen::WholeValues values = make_values(drawn.saved, drawn.seed);
  if (auto wrong = not_saved(
          save_job(world, drawn.saved, values, {.seed = drawn.seed, .coordinator = drawn.coordinator, .block_bytes = drawn.block_bytes}))) {
    return "save: " + *wrong;
  }
  if (auto wrong = not_loaded(load_job(world, loading, values, {.seed = drawn.seed + 1, .coordinator = coordinator})))
    return "load: " + *wrong;
  return std::nullopt;
}

std::optional<std::string> round_trip(World& world, const gen::DrawnCase& drawn) {
  return saves_then_loads(world, drawn, drawn.saved, drawn.coordinator);
}

std::optional<std::string> reshard(World& world, const gen::DrawnCase& drawn) {
  if (drawn.loaded.world_size != drawn.saved.world_size) MARK("property.resharded_n_to_m");
  return saves_then_loads(world, drawn, drawn.loaded, drawn.load_coordinator);
}

/// The second of two saves is what a load gives, and the first one is still there until retention takes it.
std::optional<std::string> newest(World& world, const gen::DrawnCase& drawn) {
  if (auto wrong = saves_then_loads(world, drawn, drawn.saved, drawn.coordinator)) return wrong;
  const gen::WholeValues newer = make_values(drawn.saved, drawn.seed + 100);
  const Step earlier{0};  // a job that went back: the newest is not the one with the highest step
  if (auto wrong =
          not_saved(save_job(world, drawn.saved, newer, {.seed = drawn.seed + 2, .coordinator = drawn.coordinator, .step = earlier}))) {
    return "second save: " + *wrong;
  }
  if (auto wrong = not_loaded(load_job(world, drawn.loaded, newer, {.seed = drawn.seed + 3, .coordinator = drawn.load_coordinator}))) {
    return "load after the second save: " + *wrong;
  }
  return std::nullopt;
}

Property property(std::string id, std::string invariants, std::string statement, Holds holds, std::vector<std::string> marks = {}) {
  return {std::move(id),
          std::move(invariants),
          std::move(statement),
          in_every_world(),
          [holds = std::move(holds)](World& world, const gen::DrawOptions& options) { return check(world, options, holds); },
          std::move(marks)};
}

}  // namespace

std::vector<Property> round_trip_properties() {
  return {
      property("round-trip", "S4 L4", "A load under the saving job's layouts gives every bit back and leaves nothing open.", round_trip),
      property("reshard", "S4 S7", "A load under any other layouts, by any other number of ranks, gives every bit back.", reshard,
               {"property.resharded_n_to_m"}),
      property("newest", "S1 S9", "After two saves a load gives the later one, whatever their steps.", newest),
  };
}

}  // namespace holdfast::properties
