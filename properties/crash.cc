// S1-S5, S9, L1, L2, L4, A1, A4 under faults and crashes, in the simulator: a save over an existing checkpoint, then recovery (workload/).
#include "impl/core/mark.h"
#include "properties/property.h"
#include "properties/workload/save_workload.h"
#include "sim/campaign.h"

namespace holdfast::properties {
namespace {

std::string describe(const sim::Case& test) {
  std::string text = fmt::format("schedule seed {}, persistence {}{}", test.scenario.seed, to_string(test.scenario.persistence),
                                 test.power_loss_after ? ", power lost afterwards" : "");
  for (const sim::Fault& fault : test.scenario.faults) {
    text += fmt::format(", {} ({}) at door call {} of rank {}", to_string(fault.kind), to_string(fault.error), fault.site.ordinal,
                        fault.site.rank);
  }
  return text;
}

std::optional<std::string> first_failure(const sim::CampaignTotals& totals) {
  if (totals.failures.empty()) return std::nullopt;
  const sim::Failure& failure = totals.failures.front();
  return fmt::format("{}: {} ({})", failure.verdict.front().property, failure.verdict.front().message, describe(failure.test));
}

gen::StateSpec small_state() {
  gen::StateSpec spec;
  spec.world_size = 2;
  spec.tensors = {{"bias", DType::f32, {3}, ReplicatedLayout{}, 0},
                  {"twice", DType::u8, {5}, ChunkLayout{0, {Rank{0}, Rank{1}, Rank{0}}}, 0},
                  {"weight", DType::bf16, {4, 2}, ChunkLayout{0, {Rank{0}, Rank{1}}}, 0}};
  spec.values = {{"trainer", 9}};
  return spec;
}

/// Every door call of the smallest interesting save, with every kind of fault, under each persistence model.
gen::Outcome exhaust_small_scope(World& /*world*/, const gen::DrawOptions& options) {
  gen::Outcome outcome;
  for (const auto& [coordinator, warm] : {std::pair(0, false), std::pair(1, false), std::pair(1, true)}) {
    SaveWorkload workload(small_state(), {.coordinator = Rank{coordinator}, .block_bytes = 16, .warm = warm});
    const sim::CampaignTotals totals = sim::exhaust_single_faults(workload, {.seed = options.seed});
    outcome.cases += totals.cases - totals.failed_cases;
    if (const auto wrong = first_failure(totals)) return {outcome.cases, *wrong, show(small_state())};
    for (const auto& [cell, count] : totals.coverage) {
      if (count.fired != count.enumerated) {
        return {outcome.cases,
                fmt::format("{} of {} faults {} in step \"{}\" fired", count.fired, count.enumerated, to_string(cell.kind), cell.step), ""};
      }
    }
  }
  MARK("property.every_door_call_crashed");
  return outcome;
}

/// Any state, any faults up to three, any schedule; recovery by another job with other layouts.
gen::Outcome random_faults(World& /*world*/, const gen::DrawOptions& options) {
  return gen::for_all(options, [](const gen::DrawnCase& drawn) {
    SaveWorkload workload(
        drawn.saved,
        {.coordinator = drawn.coordinator, .block_bytes = drawn.block_bytes, .warm = drawn.seed % 3 == 0, .recovered_spec = drawn.loaded});
    return first_failure(sim::random_campaign(workload, {.seed = drawn.seed, .cases = 20}));
  });
}

/// The same with a save that goes on beside the trainer.
gen::Outcome random_faults_async(World& /*world*/, const gen::DrawOptions& options) {
  return gen::for_all(options, [](const gen::DrawnCase& drawn) {
    SaveWorkload workload(drawn.saved, {.name = "async-save-over-existing",
                                        .coordinator = drawn.coordinator,
                                        .block_bytes = drawn.block_bytes,
                                        .async = true,
                                        .warm = drawn.seed % 3 == 0,
                                        .recovered_spec = drawn.loaded});
    return first_failure(sim::random_campaign(workload, {.seed = drawn.seed, .cases = 20}));
  });
}

/// A crash at the very end, with nothing else wrong: what was acknowledged is durable.
gen::Outcome durable_after_acknowledgement(World& /*world*/, const gen::DrawOptions& options) {
  return gen::for_all(options, [](const gen::DrawnCase& drawn) -> std::optional<std::string> {
    SaveWorkload workload(drawn.saved, {.coordinator = drawn.coordinator, .block_bytes = drawn.block_bytes});
    const sim::Disk prepared = workload.prepare();
    for (const auto model : {sim::PersistenceModel::strict, sim::PersistenceModel::ext4_ordered, sim::PersistenceModel::weak}) {
      sim::Case test;
      test.scenario.seed = drawn.seed;
      test.scenario.persistence = model;
      test.power_loss_after = true;
      const sim::CaseResult result = sim::run_case(workload, test, prepared);
      if (workload.noticed()) return "a save without faults failed: " + describe(test);
      if (!result.verdict.empty())
        return fmt::format("{}: {} ({})", result.verdict.front().property, result.verdict.front().message, describe(test));
    }
    return std::nullopt;
  });
}

}  // namespace

std::vector<Property> crash_properties() {
  return {
      {"crash-exhaustive",
       "S1 S2 S3 S4 S5 S9 L1 L2 L4 A1",
       "Every fault at every door call of a small save leaves the old checkpoint or the new one.",
       {"sim"},
       exhaust_small_scope,
       {"property.every_door_call_crashed", "judge.loaded_old", "judge.loaded_new", "judge.unknown_outcome", "comm.child_lost",
        "comm.decision_unknown", "comm.reduce_failed", "load.fell_back", "recover.swept", "commit.retired", "segment_writer.warned",
        "judge.warm_save_committed", "judge.warm_save_hit"}},
      {"crash-random",
       "S1 S2 S3 S4 S5 S7 S9 L1 L2 L4 A1",
       "Up to three faults anywhere, and a crash, leave the old checkpoint or the new one, for any job that recovers.",
       {"sim"},
       random_faults,
       {"judge.loaded_old", "judge.loaded_new", "judge.unknown_outcome", "recover.swept", "judge.warm_save_committed",
        "judge.warm_save_hit"}},
      {"crash-async",
       "S1 S2 S3 S4 S5 S6 S7 S9 L1 L2 L4 A1",
       "The same when the save is asynchronous, and the trainer changes its tensors at once.",
       {"sim"},
       random_faults_async,
       {"judge.loaded_old", "judge.loaded_new", "judge.unknown_outcome", "recover.swept", "judge.warm_save_committed",
        "judge.warm_save_hit"}},
      {"durable-after-ack",
       "S2 A4",
       "A save that reported success survives any legal crash right after it.",
       {"sim"},
       durable_after_acknowledgement,
       {"judge.loaded_new"}},
  };
}

}  // namespace holdfast::properties
