// D1: equal decisions give equal events, whatever was injected; a recorded list of decisions gives the run again. D2: recording changes nothing.
#include "properties/property.h"
#include "properties/workload/save_workload.h"
#include "sim/campaign.h"

namespace holdfast::properties {
namespace {

std::optional<std::string> same(const sim::CaseResult& a, const sim::CaseResult& b, std::string_view what) {
  if (a.act.event_hash != b.act.event_hash)
    return fmt::format("{}: event hash {:016x} became {:016x}", what, a.act.event_hash, b.act.event_hash);
  if (a.hash != b.hash) return fmt::format("{}: the story is the same, the recovery or the disk is not", what);
  return std::nullopt;
}

std::optional<std::string> runs_again_alike(const gen::DrawnCase& drawn) {
  SaveWorkload workload(drawn.saved, {.coordinator = drawn.coordinator, .block_bytes = drawn.block_bytes, .save_again = false});
  const sim::Disk prepared = workload.prepare();
  const auto sites = sim::enumerate_sites(workload, prepared);
  sim::Case test = sim::random_case(sites, drawn.seed, 0);
  const sim::CaseResult first = sim::run_case(workload, test, prepared);
  if (auto wrong = same(first, sim::run_case(workload, test, prepared), "the same seed")) return wrong;
  test.scenario.record_events = true;
  if (auto wrong = same(first, sim::run_case(workload, test, prepared), "the same seed, recorded")) return wrong;
  test.scenario.record_events = false;
  test.scenario.replay = first.act.decisions;
  const sim::CaseResult replayed = sim::run_case(workload, test, prepared);
  if (!replayed.act.diverged.empty()) return "replay diverged: " + replayed.act.diverged;
  return same(first, replayed, "the recorded decisions");
}

gen::Outcome check(World& /*world*/, const gen::DrawOptions& options) { return gen::for_all(options, runs_again_alike); }

}  // namespace

std::vector<Property> determinism_properties() {
  return {{"determinism", "D1 D2", "A seed run twice, recorded, or replayed from its decisions gives the same events.", {"sim"}, check}};
}

}  // namespace holdfast::properties
