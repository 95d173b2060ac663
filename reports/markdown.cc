#include "reports/markdown.h"

#include <fmt/format.h>

#include "reports/text.h"

namespace holdfast::reports {
namespace {

/// Text that Markdown takes as text, in a cell of a table too.
std::string plain(std::string_view text, std::size_t length_max = 400) {
  std::string out;
  for (const char c : escape_xml(clip(text, length_max))) {
    if (std::string_view("|*_`[]\\~!").find(c) != std::string_view::npos) {
      out += fmt::format("&#{};", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out;
}

std::string code(std::string_view text) { return "<code>" + plain(text, 600) + "</code>"; }

std::string_view symbol(ReportVerdict verdict) {
  return verdict == ReportVerdict::good ? "\xE2\x9C\x85" : verdict == ReportVerdict::bad ? "\xE2\x9D\x8C" : "\xE2\x9A\xAA";
}

std::string cell_text(const CoverageCell& cell) {
  if (!cell.possible) return " ";
  if (cell.violations > 0) return fmt::format("\xE2\x9D\x8C {}/{}", grouped(cell.violations), grouped(cell.fired));
  return cell.fired > 0 ? fmt::format("\xE2\x9C\x85 {}", grouped(cell.fired)) : std::string("\xE2\x80\x94");
}

/// Lines that GitHub folds away, on one line of Markdown: they stand in an item of a list.
std::string folded(std::string_view lines) {
  constexpr std::size_t lines_max = 40;
  if (lines.empty()) return {};
  std::string text = "<details><summary>what happened</summary><pre>";
  for (std::size_t i = 0; i < lines_max && !lines.empty(); ++i, lines = other_lines(lines)) text += plain(first_line(lines)) + "&#10;";
  return text + (lines.empty() ? "" : "\xE2\x80\xA6") + "</pre></details>";
}

/// Adds lines while they fit, and says how many did not.
class Lines {
 public:
  explicit Lines(std::size_t limit) : limit_(limit) {}
  void add(std::string_view line) {
    if (text_.size() + line.size() + 1 > limit_) {
      ++left_out_;
      return;
    }
    text_ += line;
    text_ += '\n';
  }
  std::string finish() const {
    return left_out_ == 0 ? text_ : text_ + fmt::format("\n{} left out to stay under the size limit.\n", counted(left_out_, "line"));
  }

 private:
  std::size_t limit_;
  std::size_t left_out_ = 0;
  std::string text_;
};

void add_coverage(Lines& lines, const ReportCoverage& coverage) {
  if (coverage.fault_kinds.empty()) return;
  lines.add("\n### Coverage\n");
  lines.add("\xE2\x9C\x85 struck, nothing wrong; \xE2\x9D\x8C violations of runs; \xE2\x80\x94 not reached; blank: cannot be\n");
  std::string head = "| fault |";
  std::string rule = "|---|";
  for (const std::string& step : coverage.steps) {
    head += " " + plain(step, 40) + " |";
    rule += "---:|";
  }
  lines.add(head);
  lines.add(rule);
  for (std::size_t kind = 0; kind < coverage.fault_kinds.size(); ++kind) {
    std::string row = "| " + plain(coverage.fault_kinds[kind], 60) + " |";
    for (std::size_t step = 0; step < coverage.steps.size(); ++step) {
      const bool known = kind < coverage.cells.size() && step < coverage.cells[kind].size();
      row += " " + cell_text(known ? coverage.cells[kind][step] : CoverageCell{0, 0, false}) + " |";
    }
    lines.add(row);
  }
}

}  // namespace

std::string markdown_summary(const CampaignReport& report, std::size_t bytes_max) {
  constexpr std::size_t room_for_last_words = 200;
  Lines lines(bytes_max - room_for_last_words);
  lines.add(fmt::format("## {} {}\n", symbol(verdict_of(report)), plain(report.name)));
  lines.add(code(report.command) + fmt::format(", seed {}, {}, {:.1f} s, {}\n", plain(report.seed), plain(report.started),
                                               report.duration_s, plain(report.machine)));
  const ReportCounts& n = report.counts;
  if (n.door_calls == 0) {  // not a campaign in the simulator
    lines.add(counted(n.runs, "case"));
  } else {
    lines.add(
        "| runs | events | door calls | faults enumerated | fired | consequential | detected |\n|---:|---:|---:|---:|---:|---:|---:|");
    lines.add(fmt::format("| {} | {} | {} | {} | {} | {} | {} |", grouped(n.runs), grouped(n.events), grouped(n.door_calls),
                          grouped(n.faults_enumerated), grouped(n.faults_fired), grouped(n.faults_consequential),
                          grouped(n.faults_detected)));
  }
  if (!report.failures.empty()) lines.add(fmt::format("\n### {}\n", counted(report.failures.size(), "failure")));
  for (const ReportFailure& failure : report.failures) {
    lines.add(fmt::format("- **{} {}**: {}<br>{} ({} decisions, shrunk to {}){}", plain(failure.verdict_class, 40),
                          plain(failure.property, 80), plain(first_line(failure.message), 1000), code(failure.replay_command),
                          grouped(failure.decisions_before), grouped(failure.decisions_after), folded(other_lines(failure.message))));
  }
  if (!report.acts.empty()) lines.add("\n### Acts\n");
  for (const ReportAct& act : report.acts)
    lines.add(fmt::format("- {} **{}** {}", symbol(act.verdict), plain(act.title, 200), plain(act.text, 600)));
  add_coverage(lines, report.coverage);
  std::string missed;
  for (const ReportMark& mark : report.marks) {
    if (mark.hits == 0) missed += (missed.empty() ? "" : ", ") + code(mark.name);
  }
  if (!missed.empty()) lines.add("\n**NOT EXERCISED**: " + missed);
  return lines.finish();
}

}  // namespace holdfast::reports
