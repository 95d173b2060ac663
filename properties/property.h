// A property: a sentence that must hold, and the code that tries to break it in a world.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "properties/gen/drawn_case.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

struct Property {
  std::string id;          ///< "round-trip", "SEED-S1"; stands in CATALOGUE.md
  std::string invariants;  ///< "S4 S7"
  std::string statement;
  std::vector<std::string> worlds;  ///< that can run it
  std::function<gen::Outcome(World&, const gen::DrawOptions&)> check;
  /// Marks (impl/core/mark.h) that a check of 100 cases or more must reach, or else it exercised nothing of what it claims.
  std::vector<std::string> marks = {};
  std::string_view why_not_elsewhere = "drives the simulator itself: its faults, crashes and decisions";  ///< for who runs another world
  int ranks_min = 1;                                                                                      ///< of a world that can run it
};

/// The property, which needs so many ranks.
inline Property needing(int ranks, Property property) {
  property.ranks_min = ranks;
  return property;
}
/// Ranks of a world in which a property can reach its marks: of fewer none are asked for.
inline constexpr int ranks_for_marks = 4;

/// Worlds, for properties whose tensors lie where the world wants them, and for those that keep them in host memory, which a CUDA device moves as well.
std::vector<std::string> in_every_world();
std::vector<std::string> in_host_memory();
/// Property::why_not_elsewhere of those that are about values.
inline constexpr std::string_view asks_nothing_of_a_world = "asks nothing of a world, and need not run in more than one";
inline constexpr std::string_view needs_virtual_time = "waits for seconds, which pass at once in the simulator alone";

/// Every property, in the order of CATALOGUE.md.
const std::vector<Property>& catalogue();

// The parts of the catalogue, a file each.
std::vector<Property> round_trip_properties();
std::vector<Property> rewind_properties();
std::vector<Property> bit_rot_properties();
std::vector<Property> async_properties();
std::vector<Property> metadata_properties();
std::vector<Property> streaming_properties();
std::vector<Property> rule_properties();
std::vector<Property> writer_properties();
std::vector<Property> plan_cache_properties();
std::vector<Property> saves_again_properties();
std::vector<Property> layout_properties();
std::vector<Property> state_properties();
std::vector<Property> per_rank_properties();
std::vector<Property> hook_fault_properties();
std::vector<Property> device_fault_properties();
std::vector<Property> after_trainer_properties();
std::vector<Property> transfer_properties();
std::vector<Property> transfer_fault_properties();
std::vector<Property> shared_rule_properties();
std::vector<Property> shared_reads_properties();
std::vector<Property> shared_fault_properties();
std::vector<Property> crash_properties();
std::vector<Property> killed_rank_properties();
std::vector<Property> durability_properties();
std::vector<Property> give_up_properties();
std::vector<Property> two_jobs_properties();
std::vector<Property> determinism_properties();
std::vector<Property> engine_properties();
std::vector<Property> snapshot_properties();

}  // namespace holdfast::properties
