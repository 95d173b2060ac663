#include <algorithm>
#include <map>

#include "impl/cli/plan_file.h"
#include "impl/cli/source_file.h"
#include "impl/cli/verbs.h"
#include "impl/plan/check.h"
#include "reports/text.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t told_max = 20;

/// The findings of all parts of a plan, rank by rank.
struct Checked {
  std::vector<plan::Finding> findings;
  void add(const std::string& where, const std::vector<plan::Finding>& found) {
    for (const plan::Finding& finding : found) findings.push_back({finding.severity, finding.id, where + finding.message});
  }
};

void check_save(const PlanFile& file, Checked& checked, Report& report) {
  plan::SavePlanCheck check = plan::check_save_plan(*file.save, file.held);
  checked.add("save: ", check.findings);
  report.text += fmt::format("save          {}, imbalance {:.2f}\n", reports::counted(file.save->plans.size(), "rank"), check.imbalance);
  report.json["save"] = {{"ranks", file.save->plans.size()}, {"imbalance", check.imbalance}};
}

void check_load(const PlanFile& file, Checked& checked, Report& report) {
  for (std::size_t rank = 0; rank < file.load->size(); ++rank) {
    checked.add(fmt::format("load of rank {}: ", rank), plan::check_load_plan((*file.load)[rank], file.wanted[rank], file.stored));
  }
  // Where the file says nothing of files every chunk counts as one.
  reports::FileOf files;
  for (const LoadPlan& plan : *file.load) {
    for (const ReadItem& item : plan.items) files.emplace(item.storage_index, to_string(item.storage_index));
  }
  const reports::LoadSummary load = reports::summarise(reports::reads_of(*file.load, file.stored, files));
  report.text +=
      fmt::format("load          {}, imbalance {:.2f}, amplification {:.3f}, {} needed\n", reports::counted(file.load->size(), "rank"),
                  load.spread.imbalance, load.amplification, reports::human_bytes(load.bytes_needed));
  report.json["load"] = {{"ranks", file.load->size()},
                         {"imbalance", load.spread.imbalance},
                         {"amplification", load.amplification},
                         {"needed_bytes", load.bytes_needed},
                         {"read_bytes", load.bytes_spanned}};
}

Result<Report> check_plan(const std::string& path, const Console&) {
  const SourceFile source = TRY(SourceFile::open(path, "a plan: JSON with \"holdfast_plan\""));
  const PlanFile file = TRY(parse_plan(as_text(source.bytes()), path));
  Report report;
  Checked checked;
  if (file.save) check_save(file, checked, report);
  if (file.load) check_load(file, checked, report);
  Json list = Json::array();
  for (const plan::Finding& finding : checked.findings) {
    const std::string text = plan::to_string(finding);
    if (list.size() < told_max) report.text += one_line(text, std::string::npos) + "\n";
    list.push_back(
        {{"severity", finding.severity == plan::Severity::error ? "error" : "warning"}, {"id", finding.id}, {"message", finding.message}});
    if (report.cause.empty() && finding.severity == plan::Severity::error) report.cause = text;
  }
  if (list.size() > told_max) report.text += fmt::format("and {} more findings; --json lists them\n", list.size() - told_max);
  if (report.cause.empty()) report.text += "every byte exactly once\n";
  report.json["path"] = path;
  report.json["findings"] = list;
  return report;
}

}  // namespace

void add_check_plan(CLI::App& app, Command& command) {
  const auto path = std::make_shared<std::string>();
  CLI::App* verb =
      add_verb(app, command, "check-plan", "Check a plan, whoever made it, with an oracle that shares no algorithm with the planner.",
               "Example: holdfast check-plan plan.json, written by: holdfast plan layout.json --ranks 4 --to 3 --json --full > plan.json\n\n"
               "Checked: in bounds, every byte of every destination exactly once, the source is there, dtype and shape agree,\n"
               "nothing is empty, one owner a piece. Exit 1: something does not hold. The form: impl/cli/PLANS.md.",
               [path](const Console& console) { return check_plan(*path, console); });
  verb->add_option("PLAN", *path, "A plan as JSON")->required();
}

}  // namespace holdfast::cli
