#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "reports/html.h"
#include "reports/json.h"
#include "reports/junit.h"
#include "reports/markdown.h"
#include "reports/perfetto.h"
#include "reports/space_time.h"
#include "tests/reports/samples.h"

namespace holdfast::reports {
namespace {

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + what.size())) ++found;
  return found;
}

/// A report with every field filled, all names made of `name`.
CampaignReport sample_report(const std::string& name = "campaign") {
  CampaignReport report;
  report.name = report.seed = report.command = report.started = report.machine = name;
  report.duration_s = 12.5;
  report.counts = {1, 2, 3, 4, 5, 6, 7};
  const ReportPicture picture{name, name, space_time_svg(samples::trace_of(2))};
  report.acts.push_back({name, ReportVerdict::good, name + "\n\nsecond", {picture}, {{name, {name, "b"}, {{name, "x"}}}}});
  report.coverage = {{name, "io"}, {"1 identify", name}, {{{3, 0, true}, {0, 0, true}}, {{5, 2, true}, {0, 0, false}}}};
  report.failures.push_back({"safety", name, name, name, name, 31, 4, {picture}});
  report.marks = {{name, 9}, {"never", 0}};
  return report;
}

TEST(HtmlReport, RefersToNothingOutsideItself) {
  const std::string html = html_report(sample_report());
  EXPECT_EQ(html.find("http:"), std::string::npos);
  EXPECT_EQ(html.find("https:"), std::string::npos);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<link"), std::string::npos);
  EXPECT_EQ(html.find("src="), std::string::npos);
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(count(html, "<svg"), 2u);
}

TEST(HtmlReport, HasAnIdForEveryLinkAndEachIdOnce) {
  const std::string html = html_report(sample_report());
  std::size_t links = 0;
  for (std::size_t at = html.find("href=\"#"); at != std::string::npos; at = html.find("href=\"#", at + 1), ++links) {
    const std::string id = html.substr(at + 7, html.find('"', at + 7) - at - 7);
    EXPECT_EQ(count(html, " id=\"" + id + "\""), 1u) << id;
  }
  EXPECT_GE(links, 6u);
  for (const char* id : {"act-1-picture-1", "failure-1", "failure-1-picture-1", "failure-1-picture-1-fault-6", "coverage", "marks"}) {
    EXPECT_EQ(count(html, fmt::format(" id=\"{}\"", id)), 1u) << id;
  }
}

TEST(HtmlReport, SaysWhatWasReachedAndWhatWasNot) {
  const std::string html = html_report(sample_report());
  EXPECT_EQ(count(html, "<td class=\"good\""), 1u);
  EXPECT_EQ(count(html, "<td class=\"bad\" title=\"violations / runs\">\xE2\x9C\x97 2/5</td>"), 1u);
  EXPECT_EQ(count(html, "<td class=\"none\""), 1u);
  EXPECT_EQ(count(html, "<td></td>"), 1u) << "cannot be";
  EXPECT_EQ(count(html, "NOT EXERCISED"), 1u);
  EXPECT_NE(html.find("31 decisions, shrunk to 4"), std::string::npos);
}

TEST(HtmlReport, StaysUnderItsLimitAndSaysWhatItLeftOut) {
  CampaignReport report = sample_report();
  const std::string svg = "<svg>" + std::string(300'000, ' ') + "</svg>";
  for (int i = 0; i < 20; ++i) report.acts[0].pictures.push_back({"big", "", svg});
  for (int i = 0; i < 5000; ++i) report.failures.push_back({"safety", "S1", std::string(3000, '<'), "1", "replay", 1, 1, {}});
  for (int i = 0; i < 50'000; ++i) report.marks.push_back({"mark" + std::to_string(i), 1});
  const std::string html = html_report(report);
  EXPECT_LT(html.size(), html_bytes_max);
  EXPECT_GT(html.size(), html_bytes_max / 2);
  EXPECT_NE(html.find("left out to keep the page under"), std::string::npos);
  EXPECT_TRUE(html.ends_with("</body></html>\n"));

  CampaignReport pictures = sample_report();
  for (int i = 0; i < 20; ++i) pictures.acts[0].pictures.push_back({"big", "", svg});
  EXPECT_NE(html_report(pictures).find("Picture left out"), std::string::npos);
  EXPECT_NE(html_report(pictures).find("id=\"marks\""), std::string::npos) << "pictures leave room for the rest";
}

TEST(HtmlReport, RefusesPicturesThatRunOrFetchAnything) {
  EXPECT_EQ(embedded_svg("<svg><script>x</script></svg>", "p-"), "");
  EXPECT_EQ(embedded_svg("<svg><a xlink:href=\"http://x\"/></svg>", "p-"), "");
  EXPECT_EQ(embedded_svg("<svg><style>@import 'x'</style></svg>", "p-"), "");
  EXPECT_EQ(embedded_svg("<svg><!-- open </svg>", "p-"), "");
  EXPECT_EQ(embedded_svg("no picture", "p-"), "");
  EXPECT_EQ(embedded_svg("<?xml?><svg xmlns=\"http://x\" xmlns:xlink=\"http://y\" id=\"a\"><!-- c --><use href=\"#a\"/></svg>\n", "p-"),
            "<svg id=\"p-a\"><use href=\"#p-a\"/></svg>");
}

TEST(Reports, SurviveHostileNames) {
  for (const std::string& name : samples::hostile_names()) {
    const CampaignReport report = sample_report(name);
    for (const std::string& text : {html_report(report), junit_xml(name, junit_cases(report)), markdown_summary(report)}) {
      EXPECT_EQ(text.find("<script"), std::string::npos) << name;
      EXPECT_EQ(text.find("<b>&amp;</b>"), std::string::npos) << name;
      EXPECT_EQ(text.find('\0'), std::string::npos);
      EXPECT_EQ(text.find('\xFF'), std::string::npos);
    }
    EXPECT_TRUE(report_from_json(to_json(report)).has_value()) << name;
    EXPECT_TRUE(nlohmann::json::accept(perfetto_json(samples::trace_of(2, name))));
  }
}

TEST(ReportJson, ComesBackAsItWas) {
  const std::string text = to_json(sample_report());
  const auto report = report_from_json(text);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(to_json(*report), text);
  EXPECT_EQ(report->coverage.cells[1][0].violations, 2u);
  EXPECT_FALSE(report->coverage.cells[1][1].possible);
  EXPECT_EQ(report->acts[0].verdict, ReportVerdict::good);
  const std::string trace = to_json(samples::trace_of(3));
  ASSERT_TRUE(trace_from_json(trace).has_value());
  EXPECT_EQ(to_json(*trace_from_json(trace)), trace);
}

TEST(ReportJson, GivesAValueOrAnErrorForATextCutAtAnyByte) {
  const std::string text = to_json(samples::trace_of(1));
  for (std::size_t length = 0; length + 2 < text.size(); ++length) {
    const auto trace = trace_from_json(std::string_view(text).substr(0, length));
    ASSERT_FALSE(trace.has_value()) << length;
    EXPECT_EQ(trace.error().code, ErrorCode::corrupt);
  }
}

TEST(ReportJson, NamesWhatIsWrong) {
  EXPECT_EQ(report_from_json("[]").error().message, "read holdfast.report: the format is \"\", expected \"holdfast.report\"");
  EXPECT_EQ(report_from_json(to_json(samples::trace_of(1))).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(report_from_json(R"({"format":"holdfast.report","version":2})").error().message,
            "read holdfast.report: version 2, this program reads 1 to 1");
  EXPECT_EQ(report_from_json(R"({"format":"holdfast.report"})").error().code, ErrorCode::unsupported);
  EXPECT_EQ(report_from_json(R"({"format":"holdfast.report","version":1,"marks":7})").error().code, ErrorCode::corrupt);
  EXPECT_EQ(report_from_json(R"({"format":7,"version":1})").error().code, ErrorCode::corrupt);
}

TEST(CampaignReport, IsBadWithAFailureAndWithoutVerdictWhenNothingWasChecked) {
  EXPECT_EQ(verdict_of({}), ReportVerdict::none);
  CampaignReport report = sample_report();
  EXPECT_EQ(verdict_of(report), ReportVerdict::bad);
  report.failures.clear();
  EXPECT_EQ(verdict_of(report), ReportVerdict::good);
  report.acts.push_back({"none", ReportVerdict::none, "", {}, {}});
  EXPECT_EQ(verdict_of(report), ReportVerdict::good);
  report.acts.push_back({"bad", ReportVerdict::bad, "", {}, {}});
  EXPECT_EQ(verdict_of(report), ReportVerdict::bad);
}

TEST(CampaignReport, EndsWithTheCauseAndTheCommandInTwoHundredCharacters) {
  CampaignReport report = sample_report();
  report.failures[0] = {"safety", "S3", std::string(400, 'm'), "7", "holdfast sim replay 7f3c", 9, 1, {}};
  const std::string line = last_line(report);
  EXPECT_LE(line.size(), 204u) << "the ellipsis has three bytes";
  EXPECT_TRUE(line.starts_with("FAIL class=safety prop=S3 mmm"));
  EXPECT_TRUE(line.ends_with(" | holdfast sim replay 7f3c"));
  report.failures.clear();
  EXPECT_EQ(last_line(report), "PASS campaign: 1 run, 5 faults fired, 4 enumerated, seed campaign");
  EXPECT_TRUE(last_line({}).starts_with("NO VERDICT"));
}

TEST(CampaignReport, MergesTheNumbersOfItsParts) {
  const CampaignReport part = sample_report();
  const CampaignReport whole = merged({part, part, part});
  EXPECT_EQ(whole.counts.runs, 3u);
  EXPECT_EQ(whole.counts.faults_detected, 21u);
  EXPECT_EQ(whole.failures.size(), 3u);
  EXPECT_EQ(whole.coverage.cells[1][0].fired, 15u);
  EXPECT_EQ(whole.coverage.cells[1][0].violations, 6u);
  EXPECT_FALSE(whole.coverage.cells[1][1].possible);
  ASSERT_EQ(whole.marks.size(), 2u);
  EXPECT_EQ(whole.marks[0].hits, 27u);
  EXPECT_EQ(to_json(merged({part})), to_json(part));
}

TEST(Junit, CountsWhatPassedFailedAndWasSkipped) {
  const std::string xml = junit_xml("all", {{"a", "one", 0.5, JunitOutcome::passed, "", ""},
                                            {"b", "two", 0, JunitOutcome::failed, "said \"no\"", "line 1\nline 2 <&>"},
                                            {"a", "three", 1, JunitOutcome::skipped, "no GPU", ""}});
  EXPECT_NE(xml.find("<testsuites name=\"all\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"1.500\">"), std::string::npos);
  EXPECT_NE(xml.find("<testsuite name=\"a\" tests=\"2\" failures=\"0\" errors=\"0\" skipped=\"1\" time=\"1.500\">"), std::string::npos);
  EXPECT_NE(xml.find("<failure message=\"said &quot;no&quot;\">line 1\nline 2 &lt;&amp;&gt;</failure>"), std::string::npos);
  EXPECT_EQ(count(xml, "<testcase "), 3u);
}

TEST(Markdown, StaysUnderTheLimitOfAStepSummaryAndSaysSo) {
  CampaignReport report = sample_report();
  for (int i = 0; i < 5000; ++i) report.failures.push_back({"safety", "S1", std::string(900, '|'), "1", "replay", 1, 1, {}});
  const std::string markdown = markdown_summary(report);
  EXPECT_LE(markdown.size(), markdown_bytes_max);
  EXPECT_NE(markdown.find("left out to stay under the size limit"), std::string::npos);
  EXPECT_EQ(markdown_summary(sample_report()).find("left out"), std::string::npos);
}

TEST(Markdown, KeepsCellsOfTheMatrixApart) {
  CampaignReport report = sample_report("a|b");
  const std::string markdown = markdown_summary(report);
  const std::size_t row = markdown.find("| io |");
  ASSERT_NE(row, std::string::npos);
  EXPECT_EQ(markdown.substr(row, markdown.find('\n', row) - row), "| io | \xE2\x9D\x8C 2/5 |   |");
  EXPECT_NE(markdown.find("NOT EXERCISED"), std::string::npos);
}

TEST(Reports, TellAFailureInOneLineAndTheRestBelow) {
  CampaignReport report = sample_report();
  report.failures.resize(1);
  report.failures[0].message = "lost *all*\nfirst this\n  then <that>";
  EXPECT_NE(last_line(report).find(" lost *all* | "), std::string::npos) << last_line(report);
  const std::string markdown = markdown_summary(report);
  EXPECT_NE(markdown.find("lost &#42;all&#42;<br>"), std::string::npos);
  EXPECT_NE(markdown.find("</summary><pre>first this&#10;  then &lt;that&gt;&#10;</pre></details>\n"), std::string::npos);
  const std::string xml = junit_xml("all", junit_cases(report));
  EXPECT_NE(xml.find("message=\"lost *all*\">lost *all*\nfirst this\n  then &lt;that&gt;\n"), std::string::npos);
}

TEST(Reports, CountOnlyCasesWhereNothingWasSimulated) {
  CampaignReport report = sample_report();
  report.counts = {12, 0, 0, 0, 0, 0, 0};
  EXPECT_NE(markdown_summary(report).find("\n12 cases\n"), std::string::npos);
  EXPECT_EQ(markdown_summary(report).find("door calls"), std::string::npos);
}

TEST(Perfetto, HasAProcessANodeAndATrackARank) {
  const auto trace = nlohmann::json::parse(perfetto_json(samples::trace_of(4), 2));
  std::map<std::string, int> names;
  std::size_t calls = 0;
  std::size_t faults = 0;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "M" && event["name"] != "thread_sort_index") ++names[event["args"]["name"].get<std::string>()];
    if (event["ph"] == "X" && event["cat"] == "storage") ++calls;
    if (event["ph"] == "i") ++faults;
  }
  EXPECT_EQ(names, (std::map<std::string, int>{
                       {"node 0", 1}, {"node 1", 1}, {"rank 0", 1}, {"rank 1", 1}, {"rank 2", 1}, {"rank 3", 1}, {"rank 3 task 1", 1}}));
  EXPECT_EQ(calls, samples::trace_of(4).events.size());
  EXPECT_EQ(faults, 1u);
}

}  // namespace
}  // namespace holdfast::reports
