#include <algorithm>
#include <iterator>

#include "properties/property.h"

namespace holdfast::properties {

std::vector<std::string> in_every_world() { return {"sim", "simgpu", "threads", "procs", "launched", "cuda1", "nccl"}; }
std::vector<std::string> in_host_memory() { return {"sim", "simgpu", "threads", "procs", "launched"}; }

const std::vector<Property>& catalogue() {
  static const std::vector<Property> all = [] {
    std::vector<Property> properties;
    for (auto part : {
             round_trip_properties,    rewind_properties,      bit_rot_properties,        streaming_properties,   async_properties,
             metadata_properties,      rule_properties,        layout_properties,         writer_properties,      plan_cache_properties,
             saves_again_properties,   state_properties,       per_rank_properties,       hook_fault_properties,  device_fault_properties,
             after_trainer_properties, transfer_properties,    transfer_fault_properties, shared_rule_properties, shared_reads_properties,
             shared_fault_properties,  crash_properties,       killed_rank_properties,    durability_properties,  give_up_properties,
             two_jobs_properties,      determinism_properties, engine_properties,         snapshot_properties,
         }) {
      std::ranges::move(part(), std::back_inserter(properties));
    }
    return properties;
  }();
  return all;
}

}  // namespace holdfast::properties
