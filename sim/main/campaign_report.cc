#include "sim/main/campaign_report.h"

#include <algorithm>

#include "impl/plan/save_plan.h"
#include "reports/dot.h"
#include "reports/plan_picture.h"
#include "reports/space_time.h"

namespace holdfast::sim::program {
namespace {

using reports::ReportAct;
using reports::ReportTable;
using reports::ReportVerdict;

/// Enumerated, fired, consequential, detected, condemned, by kind of fault and protocol step.
ReportTable fault_table(const Pass& pass) {
  ReportTable table{pass.title + ": every cell", {"fault", "step", "enumerated", "fired", "consequential", "detected", "violations"}, {}};
  for (std::size_t kind = 0; kind < fault_kinds; ++kind) {
    for (const auto& [cell, count] : pass.outcome.totals.coverage) {
      if (static_cast<std::size_t>(cell.kind) != kind) continue;
      table.rows.push_back({to_string(cell.kind), step_name(cell.step), fmt::format("{}", count.enumerated), fmt::format("{}", count.fired),
                            fmt::format("{}", count.consequential), fmt::format("{}", count.detected), fmt::format("{}", count.failed)});
    }
  }
  return table;
}

reports::ReportPicture space_time(const TraceRecord& record, std::string title, std::string caption) {
  return {std::move(title), std::move(caption), reports::space_time_svg(record)};
}

std::string paragraphs(const std::string& lines) {
  std::string text;
  for (const char c : lines) text += c == '\n' ? std::string("\n\n") : std::string(1, c);
  return text;
}

ReportVerdict verdict_of(const std::vector<Pass>& passes) {
  std::uint64_t cases = 0, failed = 0;
  for (const Pass& pass : passes) {
    cases += pass.outcome.totals.cases;
    failed += pass.outcome.totals.failed_cases;
  }
  return failed != 0 ? ReportVerdict::bad : cases != 0 ? ReportVerdict::good : ReportVerdict::none;
}

std::string text_of(const Pass& pass) {
  const CampaignTotals& totals = pass.outcome.totals;
  const FaultSums sums = sums_of(totals);
  std::string text = fmt::format(
      "{}: {} of {} cases in {:.1f} s ({:.0f} a second), {} fail. Faults enumerated {}, fired {}; power lost in {} cases; hash {:016x}.",
      pass.title, totals.cases, pass.planned, pass.outcome.seconds,
      static_cast<double>(totals.cases) / std::max(pass.outcome.seconds, 1e-3), totals.failed_cases, sums.enumerated, sums.fired,
      totals.power_losses, totals.hash);
  if (totals.run_twice != 0) text += fmt::format(" {} cases were run twice and had equal hashes.", totals.run_twice);
  if (pass.outcome.timed_out) text += " Time was up before the rest.";
  return text;
}

}  // namespace

ReportAct act_of(const Caught& bug) {
  ReportAct act;
  act.title = fmt::format("First act, {}: {}", bug.missed.empty() ? "caught" : "NOT CAUGHT", bug.title);
  act.verdict = bug.missed.empty() ? ReportVerdict::good : ReportVerdict::bad;
  act.text = bug.what;
  if (!bug.missed.empty()) {
    act.text += "\n\nNOT CAUGHT: " + bug.missed;
    return act;
  }
  act.text += fmt::format("\n\nCaught and shrunk in {:.2f} s: {}\n\n{}{}{}\n\nReplay: holdfast sim replay {}", bug.seconds, bug.found,
                          paragraphs(bug.story.beginning), paragraphs(bug.story.ending), bug.healthy, bug.file);
  act.pictures.push_back(space_time(bug.record, bug.title, bug.found));
  act.tables.push_back({"The calls that matter", event_columns(), bug.story.events});
  return act;
}

ReportAct act_of(const Job& job, const std::vector<Pass>& passes, const std::string& plan_svg) {
  ReportAct act;
  act.title = fmt::format("Second act: {}, {} tensors on {} ranks", job.layout.substr(job.layout.rfind('/') + 1), job.spec.tensors.size(),
                          job.spec.world_size);
  act.verdict = verdict_of(passes);
  act.text = fmt::format(
      "The real save and load, on {} tensors of {} bytes in all. A committed checkpoint is there; the job saves a new one over it, under "
      "faults; then new processes "
      "recover and load, and every byte is compared with the old state or the new one.",
      job.spec.tensors.size(), logical_bytes(job.spec));
  for (const Pass& pass : passes) {
    act.text += "\n\n" + text_of(pass);
    act.tables.push_back(fault_table(pass));
  }
  if (!plan_svg.empty())
    act.pictures.push_back({"The save plan", "Who writes what, after replicas were removed and bytes balanced.", plan_svg});
  return act;
}

CampaignTotals totals_of(const std::vector<Pass>& passes) {
  std::vector<CampaignTotals> parts;
  for (const Pass& pass : passes) parts.push_back(pass.outcome.totals);
  return merged(parts, parts.size() * CampaignOptions().failures_max);
}

reports::ReportFailure failure_of(const FailureFile& failure, const std::string& path) {
  const Retold told = retell(failure);
  return {to_string(failure.signature.verdict_class),
          failure.signature.property,
          failure.signature.message + "\n" + to_string(told.story),
          fmt::format("{}, case {}", failure.seed, failure.index),
          "holdfast sim replay " + path,
          failure.decisions_before,
          failure.decisions_after,
          {space_time(told.record, "What happened", failure.signature.message)}};
}

Result<std::string> save_plan_svg(const Job& job) {
  const properties::gen::WholeValues values = job.values ? *job.values : make_values(job.spec, 1);
  std::vector<SavePlan> local;
  for (int r = 0; r < job.spec.world_size; ++r) {
    local.push_back(TRY(plan::local_save_plan(make_state(job.spec, Rank{r}, values).dict)));
  }
  const plan::GlobalSavePlan global = TRY(plan::global_save_plan(local));
  return reports::render_svg(reports::save_plan_dot(reports::writes_of(global.plans, &local)));
}

}  // namespace holdfast::sim::program
