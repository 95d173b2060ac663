// The page that sets sources side by side.
#include "reports/comparison.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "reports/html.h"
#include "tests/reports/samples.h"

namespace holdfast::reports {
namespace {

Comparison sample() {
  Comparison comparison{
      "Parity of worlds", "holdfast-validate --compare-parity a.json b.json", "2026-01-01", "Linux", {"sim", "procs"}, {}};
  comparison.chapters = {{"every act",
                          {{"save", {"committed step-1.a1", "committed step-1.a1"}, {}},
                           {"load", {"loaded", "failed"}, {{"ranks/0/loaded", {"step-1.a1", "(absent)"}}}}}},
                         {"none intact", {{"load", {"failed", "failed"}, {}}}}};
  return comparison;
}

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + what.size())) ++found;
  return found;
}

TEST(Comparison, CountsWhatWasComparedAndWhatDiffers) {
  EXPECT_EQ(sample().items(), 3u);
  EXPECT_EQ(sample().items_that_differ(), 1u);
}

TEST(Comparison, MarksWhatIsAsInTheFirstSourceAndShowsBothWhereItIsNot) {
  const std::string html = comparison_html(sample());
  EXPECT_EQ(count(html, "<td class=\"good\" title=\"as the first\">"), 2u);
  EXPECT_EQ(count(html, "<td class=\"bad\" title=\"not as the first\">\xE2\x89\xA0 failed</td>"), 1u);
  EXPECT_EQ(
      count(
          html,
          "<td><code>ranks/0/loaded</code></td><td class=\"none\"><code>step-1.a1</code></td><td class=\"bad\"><code>(absent)</code></td>"),
      1u);
  EXPECT_EQ(count(html, "1 act differs"), 2u) << "at the top and at the chapter";
  EXPECT_EQ(count(html, "\xE2\x9C\x93 equal"), 1u);
  EXPECT_EQ(count(html, "http"), count(html, "http-equiv"));
  for (std::size_t at = html.find("href=\"#"); at != std::string::npos; at = html.find("href=\"#", at + 1)) {
    const std::string id = html.substr(at + 7, html.find('"', at + 7) - at - 7);
    EXPECT_EQ(count(html, " id=\"" + id + "\""), 1u) << id;
  }
}

TEST(Comparison, SurvivesHostileNames) {
  for (const std::string& name : samples::hostile_names()) {
    Comparison comparison{name, name, name, name, {name, name}, {{name, {{name, {name, name}, {{name, {name, name + "x"}}}}}}}};
    EXPECT_EQ(count(comparison_html(comparison), "<script"), 0u);
  }
}

TEST(Comparison, LeavesOutWhatIsEqualFirstAndSaysSo) {
  Comparison comparison = sample();
  const ComparedChapter different = comparison.chapters[0];
  ComparedChapter equal = comparison.chapters[1];
  equal.items.resize(2000, equal.items[0]);
  comparison.chapters.assign(20, equal);
  comparison.chapters.push_back(different);
  const std::string html = comparison_html(comparison);
  EXPECT_LT(html.size(), html_bytes_max);
  EXPECT_EQ(count(html, "id=\"chapter-21\""), 1u);
  EXPECT_NE(html.find("scenarios left out to keep the page under"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::reports
