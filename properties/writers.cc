// Who writes what: jobs on paper, as large as real ones, planned through the wire and back and compared with the naive planner.
#include <algorithm>

#include "impl/plan/codec.h"
#include "impl/plan/save_plan.h"
#include "model/naive_plan.h"
#include "properties/gen/paper_job.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

using Wrong = std::optional<std::string>;

Result<std::vector<SavePlan>> local_plans(const gen::PaperJob& job) {
  std::vector<SavePlan> plans;
  for (std::size_t r = 0; r < job.states.size(); ++r) {
    SavePlan plan = TRY(plan::local_save_plan(job.states[r], Rank{static_cast<std::int32_t>(r)}));
    plans.push_back(std::move(plan));
  }
  return plans;
}

/// What each rank is to write once the coordinator has answered.
Result<std::vector<SavePlan>> answered(const std::vector<SavePlan>& local) {
  std::vector<Bytes> messages;
  for (const SavePlan& plan : local) {
    Encoder out;
    plan::encode(out, plan);
    messages.push_back(out.take());
  }
  const std::vector<ByteView> views(messages.begin(), messages.end());
  const std::vector<SavePlan> received = TRY(plan::decode_save_plans(views));
  const plan::GlobalSavePlan global = TRY(plan::global_save_plan(received));
  const std::vector<SharedBytes> replies = plan::encode_replies(received, global.plans);
  std::vector<SavePlan> plans;
  for (std::size_t r = 0; r < local.size(); ++r) {
    Decoder in(replies[r].view(), "reply");
    SavePlan plan = TRY(plan::apply_kept(local[r], in));
    plans.push_back(std::move(plan));
  }
  return plans;
}

Wrong writers_are_the_models(const gen::DrawnCase& drawn) {
  const auto local = local_plans(gen::draw_paper_job(drawn.seed));
  if (!local) return fmt::format("paper job {}: {}", drawn.seed, local.error());
  const auto plans = answered(*local);
  if (!plans) return fmt::format("paper job {}: {}", drawn.seed, plans.error());
  const model::NaivePlan found = model::written_by(*plans);
  const model::NaivePlan expected = model::naive_plan(*local);
  for (const auto& [name, runs] : expected.tensors) {
    const auto at = found.tensors.find(name);
    if (at == found.tensors.end() || at->second != runs) return fmt::format("paper job {}: \"{}\" has other writers", drawn.seed, name);
  }
  if (found != expected) return fmt::format("paper job {}: other tensors, or other writers of byte values", drawn.seed);
  return std::nullopt;
}

/// One rank of a mesh does not list the tensor, or holds what another rank should.
Wrong strays_are_refused(const gen::DrawnCase& drawn) {
  constexpr std::int32_t ranks = 6;
  const MeshLayout rule{packed_mesh(std::vector<std::int64_t>{2, 3}), {Replicate{}, Shard{0}}, {}};
  const auto stray = static_cast<std::int32_t>(drawn.seed % ranks);
  const auto plan_of = [&](Rank rank, Rank holds) {
    StateDict state;
    const Status added = state.add("w", gen::paper_entry(DType::f32, {6, 2}, rule, holds));
    return added ? plan::local_save_plan(state, rank) : fail(added.error());
  };
  std::vector<SavePlan> plans(ranks);
  for (std::int32_t r = 0; r < ranks; ++r) {
    const auto plan = plan_of(Rank{r}, Rank{r});
    if (!plan) return fmt::format("{}", plan.error());
    if (r != stray) plans[static_cast<std::size_t>(r)] = *plan;
  }
  if (plan::global_save_plan(plans)) return fmt::format("rank {} of a mesh does not list the tensor, and it is planned", stray);
  if (plan_of(Rank{stray}, Rank{(stray + 1) % ranks}))
    return fmt::format("rank {} holds what the next one should, and it is planned", stray);
  return std::nullopt;
}

Property rule(std::string id, std::string statement, Wrong (*holds)(const gen::DrawnCase&), std::vector<std::string> marks) {
  return {std::move(id),
          "S7",
          std::move(statement),
          {"sim"},
          [holds](World& /*world*/, const gen::DrawOptions& options) { return gen::for_all(options, holds); },
          std::move(marks),
          asks_nothing_of_a_world};
}

}  // namespace

std::vector<Property> writer_properties() {
  return {
      rule("rule-writers", "Every element is written by the one rank that the naive planner names, whatever the layouts.",
           writers_are_the_models, {"plan.unit_of_rows", "plan.run_cut_again", "plan.piece_divided", "plan.rule_listed"}),
      rule("rule-strays", "A rank that does not list a tensor of its mesh, or holds other boxes than its rule says, is refused.",
           strays_are_refused, {}),
  };
}

}  // namespace holdfast::properties
