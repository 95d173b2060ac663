#include "impl/cli/plan_options.h"

namespace holdfast::cli {

void add_plan_options(CLI::App& verb, PlanArguments& arguments) {
  verb.add_option("SRC", arguments.source, "A checkpoint, a folder of them, a safetensors file, or a layout: JSON with \"tensors\"")
      ->required();
  verb.add_option(
          "--ranks", arguments.ranks,
          "Ranks that save, each a part of the rows; with --mesh: that mesh on so many ranks. Default: a checkpoint as it is, else 1")
      ->check(CLI::Range(1, planned_ranks_max));
  verb.add_option("--meshes", arguments.meshes, "A file of device meshes: JSON with \"meshes\"");
  verb.add_option("--sharding", arguments.sharding, "A file of sharding rules: JSON with \"rule_sets\"");
  verb.add_option("--mesh", arguments.mesh, "The mesh that saves, optimizer state included");
  verb.add_option("--rules", arguments.rules, "A rule set other than the mesh's own");
  verb.add_option("--to", arguments.to, "Who loads what was saved: a number of ranks (with --mesh: that mesh on so many), or a mesh");
}

void add_rate_options(CLI::App& verb, Rates& rates) {
  verb.add_option("--write-gbps", rates.write_gbps, "GB/s that a rank writes")->check(CLI::Range(1e-6, 1e6))->capture_default_str();
  verb.add_option("--read-gbps", rates.read_gbps, "GB/s that a rank reads")->check(CLI::Range(1e-6, 1e6))->capture_default_str();
  verb.add_option("--storage-gbps", rates.storage_gbps, "GB/s that all ranks together move; default: no bound")
      ->check(CLI::Range(1e-6, 1e9));
}

}  // namespace holdfast::cli
