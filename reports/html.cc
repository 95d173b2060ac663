#include "reports/html.h"

#include <fmt/format.h>

#include <algorithm>

#include "reports/html_page.h"
#include "reports/text.h"

namespace holdfast::reports {
namespace {

constexpr std::size_t pictures_bytes_max = 1'400'000;
constexpr std::size_t last_words_bytes = 4'000;
constexpr std::size_t text_length_max = 20'000;

std::string_view word(ReportVerdict verdict) {
  return verdict == ReportVerdict::good  ? "\xE2\x9C\x93 no violation found"
         : verdict == ReportVerdict::bad ? "\xE2\x9C\x97 violation"
                                         : "no verdict";
}

std::string_view css_class(ReportVerdict verdict) {
  return verdict == ReportVerdict::good ? "good" : verdict == ReportVerdict::bad ? "bad" : "none";
}

std::string badge(ReportVerdict verdict) { return html_badge(css_class(verdict), word(verdict)); }

std::string escaped(std::string_view text, std::size_t length_max = text_length_max) { return escape_xml(clip(text, length_max)); }

/// Paragraphs parted by empty lines.
std::string paragraphs(std::string_view text) {
  std::string out;
  std::string clipped(text.substr(0, 4 * text_length_max));
  for (std::size_t begin = 0; begin < clipped.size();) {
    const std::size_t end = std::min(clipped.find("\n\n", begin), clipped.size());
    if (end > begin) out += "<p>" + escaped(std::string_view(clipped).substr(begin, end - begin)) + "</p>";
    begin = end + 2;
  }
  return out;
}

/// The page while it grows: keeps it under its limit and notes what it had to leave out.
class Page {
 public:
  void add(std::string_view html) { text_ += html; }

  /// Adds the whole, or counts it as left out. False in that case.
  bool add_if_room(std::string_view html) {
    if (text_.size() + html.size() + last_words_bytes > html_bytes_max) {
      ++left_out_;
      return false;
    }
    text_ += html;
    return true;
  }

  void add_picture(const ReportPicture& picture, const std::string& id) {
    std::string svg = embedded_svg(picture.svg, id + "-");
    std::string_view instead;
    if (svg.empty()) instead = "No picture: it is no SVG, or it refers to something outside itself.";
    if (pictures_bytes_ + svg.size() > pictures_bytes_max) instead = "Picture left out to keep the page small; the JSON report holds it.";
    if (instead.empty()) pictures_bytes_ += svg.size();
    add_if_room(fmt::format("<figure id=\"{}\">{}<figcaption><b>{}</b> {}</figcaption></figure>", id,
                            instead.empty() ? "<div>" + svg + "</div>" : fmt::format("<p class=\"facts\">{}</p>", instead),
                            escaped(picture.title, 200), escaped(picture.caption, 2000)));
  }

  void add_table(const ReportTable& table) {
    std::string head = table.title.empty() ? "" : "<h4>" + escaped(table.title, 200) + "</h4>";
    head += "<div class=\"scroll\"><table><tr>";
    for (const std::string& column : table.columns) head += "<th>" + escaped(column, 200) + "</th>";
    if (!add_if_room(head + "</tr>")) return;
    for (const auto& row : table.rows) {
      std::string cells = "<tr>";
      for (const std::string& cell : row) cells += "<td>" + escaped(cell, 2000) + "</td>";
      add_if_room(cells + "</tr>\n");
    }
    add("</table></div>");
  }

  std::string finish() {
    std::string note;
    if (left_out_ > 0)
      note = fmt::format("<p>{} left out to keep the page under {}.</p>", counted(left_out_, "part"), human_bytes(html_bytes_max));
    return text_ + html_closing(note);
  }

 private:
  std::string text_;
  std::size_t pictures_bytes_ = 0;
  std::size_t left_out_ = 0;
};

void add_head(Page& page, const CampaignReport& report) {
  page.add(html_opening(report.name, badge(verdict_of(report))));
  HtmlFacts facts;
  facts.add("seed", report.seed);
  facts.add("started", report.started);
  if (report.duration_s > 0) facts.add("took", human_time(static_cast<std::int64_t>(report.duration_s * 1e9)));
  facts.add("on", report.machine);
  page.add(facts.html() + html_command(report.command) + "</div></header>\n");
}

void add_navigation(Page& page, const CampaignReport& report) {
  page.add("<nav><div><a href=\"#numbers\">Numbers</a>");
  if (!report.failures.empty()) page.add(fmt::format("<a href=\"#failures\">Failures ({})</a>", grouped(report.failures.size())));
  if (!report.coverage.fault_kinds.empty()) page.add("<a href=\"#coverage\">Coverage</a>");
  if (!report.acts.empty()) page.add("<a href=\"#acts\">Acts</a>");
  if (!report.marks.empty()) page.add("<a href=\"#marks\">Marks</a>");
  page.add("</div></nav>\n<main>\n");
}

void add_numbers(Page& page, const ReportCounts& counts) {
  const auto tile = [](std::uint64_t value, std::string_view name) {
    return fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>", grouped(value), name);
  };
  page.add("<section id=\"numbers\"><div class=\"tiles\">" + tile(counts.runs, "runs") + tile(counts.events, "events") +
           tile(counts.door_calls, "door calls") + tile(counts.faults_fired, "faults fired") + "</div>");
  const std::uint64_t most = std::max({counts.faults_enumerated, counts.faults_fired, counts.faults_consequential, counts.faults_detected});
  if (most > 0) {
    const auto bar = [&](std::string_view name, std::uint64_t value) {
      return fmt::format("<span>{}</span><i style=\"width:{:.1f}%\"></i><b>{}</b>", name,
                         100 * static_cast<double>(value) / static_cast<double>(most), grouped(value));
    };
    page.add("<h2>Faults: from possible to noticed</h2><div class=\"funnel\">" + bar("enumerated", counts.faults_enumerated) +
             bar("fired", counts.faults_fired) + bar("consequential", counts.faults_consequential) +
             bar("detected", counts.faults_detected) + "</div>");
  }
  page.add("</section>\n");
}

void add_failures(Page& page, const CampaignReport& report) {
  if (report.failures.empty()) return;
  page.add("<section id=\"failures\"><h2>Failures</h2>\n");
  for (std::size_t i = 0; i < report.failures.size(); ++i) {
    const ReportFailure& failure = report.failures[i];
    const std::string id = fmt::format("failure-{}", i + 1);
    std::string shrunk;
    if (failure.decisions_before > 0) {
      shrunk = fmt::format("{} decisions, shrunk to {}", grouped(failure.decisions_before), grouped(failure.decisions_after));
    }
    const bool room = page.add_if_room(
        fmt::format("<article class=\"failed\" id=\"{0}\"><h3><span class=\"badge bad\">\xE2\x9C\x97 {1}</span>{2} <a "
                    "href=\"#{0}\">#</a></h3><p>{3}</p>{4}<p class=\"facts\">seed {5}{6}{7}</p>",
                    id, escaped(failure.verdict_class, 60), escaped(failure.property, 200), escaped(failure.message, 4000),
                    html_command(failure.replay_command), escaped(failure.seed, 100), shrunk.empty() ? "" : " \xC2\xB7 ", shrunk));
    if (!room) continue;
    for (std::size_t k = 0; k < failure.pictures.size(); ++k)
      page.add_picture(failure.pictures[k], fmt::format("{}-picture-{}", id, k + 1));
    page.add("</article>\n");
  }
  page.add("</section>\n");
}

std::string coverage_cell(const CoverageCell& cell) {
  if (!cell.possible) return "<td></td>";
  if (cell.violations > 0)
    return fmt::format("<td class=\"bad\" title=\"violations / runs\">\xE2\x9C\x97 {}/{}</td>", grouped(cell.violations),
                       grouped(cell.fired));
  if (cell.fired > 0) return fmt::format("<td class=\"good\" title=\"runs\">\xE2\x9C\x93 {}</td>", grouped(cell.fired));
  return "<td class=\"none\" title=\"not reached\">\xE2\x80\x94</td>";
}

void add_coverage(Page& page, const ReportCoverage& coverage) {
  if (coverage.fault_kinds.empty()) return;
  page.add(
      "<section id=\"coverage\"><h2>Coverage: fault by protocol step</h2><p class=\"facts\"><span class=\"badge good\">\xE2\x9C\x93 "
      "runs</span> struck, nothing wrong "
      "<span class=\"badge bad\">\xE2\x9C\x97 violations/runs</span> <span class=\"badge none\">\xE2\x80\x94</span> not reached; blank: "
      "cannot be</p>"
      "<div class=\"scroll\"><table class=\"matrix\"><tr><th></th>");
  for (const std::string& step : coverage.steps) page.add_if_room("<th>" + escaped(step, 40) + "</th>");
  page.add("</tr>\n");
  for (std::size_t kind = 0; kind < coverage.fault_kinds.size(); ++kind) {
    std::string row = "<tr><th>" + escaped(coverage.fault_kinds[kind], 80) + "</th>";
    for (std::size_t step = 0; step < coverage.steps.size(); ++step) {
      const bool known = kind < coverage.cells.size() && step < coverage.cells[kind].size();
      row += coverage_cell(known ? coverage.cells[kind][step] : CoverageCell{0, 0, false});
    }
    page.add_if_room(row + "</tr>\n");
  }
  page.add("</table></div></section>\n");
}

void add_acts(Page& page, const CampaignReport& report) {
  if (report.acts.empty()) return;
  page.add("<section id=\"acts\"><h2>Acts</h2>\n");
  for (std::size_t i = 0; i < report.acts.size(); ++i) {
    const ReportAct& act = report.acts[i];
    const std::string id = fmt::format("act-{}", i + 1);
    const bool room = page.add_if_room(fmt::format("<article id=\"{0}\"><h3>{1}{2} <a href=\"#{0}\">#</a></h3>{3}", id, badge(act.verdict),
                                                   escaped(act.title, 200), paragraphs(act.text)));
    if (!room) continue;
    for (std::size_t k = 0; k < act.pictures.size(); ++k) page.add_picture(act.pictures[k], fmt::format("{}-picture-{}", id, k + 1));
    for (const ReportTable& table : act.tables) page.add_table(table);
    page.add("</article>\n");
  }
  page.add("</section>\n");
}

void add_marks(Page& page, const std::vector<ReportMark>& marks) {
  if (marks.empty()) return;
  page.add(
      "<section id=\"marks\"><h2>Marks: what the runs passed through</h2><div class=\"scroll\"><table><tr><th>mark</th><th "
      "class=\"count\">hits</th></tr>\n");
  for (const ReportMark& mark : marks) {
    const std::string hits = mark.hits > 0 ? grouped(mark.hits) : std::string("<span class=\"badge bad\">NOT EXERCISED</span>");
    page.add_if_room(fmt::format("<tr><td><code>{}</code></td><td class=\"count\">{}</td></tr>\n", escaped(mark.name, 200), hits));
  }
  page.add("</table></div></section>\n");
}

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

}  // namespace

std::string embedded_svg(std::string_view svg, std::string_view prefix) {
  const std::size_t root = svg.find("<svg");
  const std::size_t end = svg.rfind("</svg>");
  if (root == std::string_view::npos || end == std::string_view::npos || end < root) return "";
  std::string out(svg.substr(root, end + 6 - root));
  for (std::size_t at = out.find(" xmlns"); at != std::string::npos; at = out.find(" xmlns", at)) {
    const std::size_t open = out.find('"', at);
    const std::size_t close = open == std::string::npos ? open : out.find('"', open + 1);
    if (close == std::string::npos) return "";
    out.erase(at, close + 1 - at);
  }
  for (std::size_t at = out.find("<!--"); at != std::string::npos; at = out.find("<!--", at)) {
    const std::size_t close = out.find("-->", at);
    if (close == std::string::npos) return "";
    out.erase(at, close + 3 - at);
  }
  for (const std::string_view banned :
       {"<script", "<foreignObject", "<iframe", "<image", "javascript:", "href=\"http", "src=", "@import", "url(http", "<!"}) {
    if (out.find(banned) != std::string::npos) return "";
  }
  replace_all(out, " id=\"", fmt::format(" id=\"{}", prefix));
  replace_all(out, "href=\"#", fmt::format("href=\"#{}", prefix));
  replace_all(out, "url(#", fmt::format("url(#{}", prefix));
  return out;
}

std::string html_report(const CampaignReport& report) {
  Page page;
  add_head(page, report);
  add_navigation(page, report);
  add_numbers(page, report.counts);
  add_failures(page, report);
  add_coverage(page, report.coverage);
  add_acts(page, report);
  add_marks(page, report.marks);
  return page.finish();
}

}  // namespace holdfast::reports
