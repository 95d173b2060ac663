// The plan that plan, estimate and check-plan speak of: a source, who saves it and who loads it. No weights, no GPU, no ranks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "impl/cli/inventory.h"
#include "impl/plan/finding.h"
#include "impl/plan/save_plan.h"
#include "impl/spec/job.h"
#include "reports/grouping.h"
#include "reports/reads.h"
#include "reports/writes.h"

namespace holdfast::cli {

/// Ranks that a plan may be made for.
inline constexpr int planned_ranks_max = 1 << 20;

struct PlanArguments {
  std::string source;
  std::optional<int> ranks;  ///< that save, each a part of the rows
  std::string meshes;        ///< meshes.json
  std::string sharding;      ///< sharding.json
  std::string mesh;          ///< that saves
  std::string rules;         ///< a rule set other than the mesh's own
  std::string to;            ///< ranks or mesh that load; empty: nobody
};

/// One side of a plan: the job that saves, or the one that loads.
struct Side {
  spec::Job job;
  std::string what;                         ///< "8 ranks, each a part of the rows", "mesh small-tp (dp=2 tp=4)", "as stored by 4 ranks"
  std::vector<reports::NamedRanks> stages;  ///< of a pipeline; empty: none
  bool stored = false;                      ///< it saved already: a checkpoint as it is
};

/// Two names that are one tensor: what is stored, and what of it is wanted.
struct Wanted {
  const reports::StoredTensor* stored = nullptr;
  const spec::JobTensor* tensor = nullptr;
};

struct Planned {
  Inventory inventory;
  Side saving;
  std::optional<Side> loading;
  std::vector<SavePlan> local;  ///< of a save that is planned; empty: the checkpoint is there
  plan::GlobalSavePlan global;  ///< likewise; its metadata is there in both cases
  std::uint64_t logical_bytes = 0;
  reports::Writes writes{0};
  reports::SaveSummary save;
  std::vector<plan::Finding> save_findings;
  std::vector<reports::StoredTensor> stored;  ///< in name order
  std::vector<Wanted> wanted;                 ///< into `stored` and `loading`
  std::optional<reports::Reads> reads;
  reports::LoadSummary load;
  std::vector<plan::Finding> load_findings;
};

/// Errors: of the files; invalid_argument for arguments that do not go together, a mesh that does not fit, a plan that cannot be made.
Result<std::unique_ptr<Planned>> make_plan(const PlanArguments& arguments, const Console& console);

}  // namespace holdfast::cli
