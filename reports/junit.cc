#include "reports/junit.h"

#include <fmt/format.h>

#include <algorithm>

#include "reports/text.h"

namespace holdfast::reports {
namespace {

/// Text of several lines: line ends stay, everything else is escaped.
std::string escape_lines(std::string_view text) {
  std::string out;
  while (true) {
    const std::size_t end = text.find('\n');
    out += escape_xml(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

struct Tally {
  std::size_t tests = 0, failures = 0, skipped = 0;
  double seconds = 0;
  void add(const JunitCase& one) {
    ++tests;
    failures += one.outcome == JunitOutcome::failed ? 1 : 0;
    skipped += one.outcome == JunitOutcome::skipped ? 1 : 0;
    seconds += one.seconds;
  }
  std::string attributes() const {
    return fmt::format("tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3f}\"", tests, failures, skipped, seconds);
  }
};

std::string case_xml(const JunitCase& one) {
  std::string out =
      fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"", escape_xml(one.suite), escape_xml(one.name), one.seconds);
  if (one.outcome == JunitOutcome::passed) return out + "/>\n";
  const char* element = one.outcome == JunitOutcome::failed ? "failure" : "skipped";
  return out + fmt::format(">\n      <{0} message=\"{1}\">{2}</{0}>\n    </testcase>\n", element, escape_xml(one.message),
                           escape_lines(one.details));
}

}  // namespace

std::string junit_xml(const std::string& name, const std::vector<JunitCase>& cases) {
  std::vector<std::string> suites;
  Tally all;
  for (const JunitCase& one : cases) {
    all.add(one);
    if (std::ranges::find(suites, one.suite) == suites.end()) suites.push_back(one.suite);
  }
  std::string out =
      fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\" {}>\n", escape_xml(name), all.attributes());
  for (const std::string& suite : suites) {
    Tally tally;
    std::string body;
    for (const JunitCase& one : cases) {
      if (one.suite != suite) continue;
      tally.add(one);
      body += case_xml(one);
    }
    out += fmt::format("  <testsuite name=\"{}\" {}>\n{}  </testsuite>\n", escape_xml(suite), tally.attributes(), body);
  }
  return out + "</testsuites>\n";
}

std::vector<JunitCase> junit_cases(const CampaignReport& report) {
  std::vector<JunitCase> cases;
  for (const ReportAct& act : report.acts) {
    const JunitOutcome outcome = act.verdict == ReportVerdict::good  ? JunitOutcome::passed
                                 : act.verdict == ReportVerdict::bad ? JunitOutcome::failed
                                                                     : JunitOutcome::skipped;
    cases.push_back({report.name, act.title, 0, outcome, outcome == JunitOutcome::skipped ? "no verdict" : clip(act.text, 200), act.text});
  }
  for (const ReportFailure& failure : report.failures) {
    cases.push_back({report.name + "." + failure.verdict_class, failure.property, 0, JunitOutcome::failed,
                     std::string(first_line(failure.message)),
                     fmt::format("{}\nseed {}\nreplay: {}\ndecisions: {}, shrunk to {}", failure.message, failure.seed,
                                 failure.replay_command, failure.decisions_before, failure.decisions_after)});
  }
  return cases;
}

}  // namespace holdfast::reports
