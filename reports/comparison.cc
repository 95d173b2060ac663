#include "reports/comparison.h"

#include <fmt/format.h>

#include <algorithm>

#include "reports/html.h"
#include "reports/html_page.h"
#include "reports/text.h"

namespace holdfast::reports {
namespace {

constexpr std::size_t last_words_bytes = 4'000;
constexpr std::size_t places_max = 200;  ///< of one item
constexpr std::size_t value_length_max = 400;

constexpr std::string_view equal_sign = "=";
constexpr std::string_view unequal_sign = "\xE2\x89\xA0";

std::string escaped(std::string_view text, std::size_t length_max) { return escape_xml(clip(text, length_max)); }

std::size_t differing(const ComparedChapter& chapter) {
  return static_cast<std::size_t>(std::ranges::count_if(chapter.items, [](const ComparedItem& item) { return !item.places.empty(); }));
}

/// Whether a source has what the first one has, at every place.
bool as_the_first(const ComparedItem& item, std::size_t source) {
  return std::ranges::all_of(item.places, [&](const ComparedPlace& place) { return place.values[source] == place.values.front(); });
}

std::string badge(std::size_t different, std::string_view noun) {
  return different == 0
             ? html_badge("good", "\xE2\x9C\x93 equal")
             : html_badge("bad", fmt::format("{} {} differ{}", unequal_sign, counted(different, noun), different == 1 ? "s" : ""));
}

std::string head_row(const Comparison& comparison, std::string_view first_cells) {
  std::string row = fmt::format("<tr>{}", first_cells);
  for (const std::string& source : comparison.sources) row += "<th>" + escaped(source, 80) + "</th>";
  return row + "</tr>\n";
}

std::string item_row(const ComparedItem& item, std::size_t number, const std::string& id) {
  std::string row = fmt::format("<tr><td class=\"count\">{}</td><td>", number);
  row += item.places.empty() ? escaped(item.title, 200) : fmt::format("<a href=\"#{}\">{}</a>", id, escaped(item.title, 200));
  row += "</td><td>" + escaped(item.told.front(), 300) + "</td>";
  for (std::size_t source = 1; source < item.told.size(); ++source) {
    row += as_the_first(item, source)
               ? fmt::format("<td class=\"good\" title=\"as the first\">{}</td>", equal_sign)
               : fmt::format("<td class=\"bad\" title=\"not as the first\">{} {}</td>", unequal_sign, escaped(item.told[source], 300));
  }
  return row + "</tr>\n";
}

std::string places_of(const Comparison& comparison, const ComparedItem& item, std::size_t number, const std::string& id) {
  std::string html = fmt::format(
      "<article class=\"failed\" id=\"{0}\"><h3>{1}{2}. {3} <a href=\"#{0}\">#</a></h3><div class=\"scroll\"><table class=\"sources\">{4}",
      id, badge(item.places.size(), "place"), number, escaped(item.title, 200), head_row(comparison, "<th>place</th>"));
  for (std::size_t i = 0; i < std::min(item.places.size(), places_max); ++i) {
    const ComparedPlace& place = item.places[i];
    html += "<tr><td><code>" + escaped(place.path, value_length_max) + "</code></td>";
    for (const std::string& value : place.values)
      html += fmt::format("<td class=\"{}\"><code>{}</code></td>", value == place.values.front() ? "none" : "bad",
                          escaped(value, value_length_max));
    html += "</tr>\n";
  }
  html += "</table></div>";
  if (item.places.size() > places_max)
    html += fmt::format("<p class=\"facts\">{} left out.</p>", counted(item.places.size() - places_max, "place"));
  return html + "</article>\n";
}

std::string chapter_html(const Comparison& comparison, std::size_t number) {
  const ComparedChapter& chapter = comparison.chapters[number];
  const std::string id = fmt::format("chapter-{}", number + 1);
  const auto item_id = [&](std::size_t item) { return fmt::format("item-{}-{}", number + 1, item + 1); };
  std::string html = fmt::format(
      "<section id=\"{0}\"><h2>{1} {2} <a href=\"#{0}\">#</a></h2><div class=\"scroll\"><table class=\"sources\">{3}", id,
      escaped(chapter.title, 200), badge(differing(chapter), "act"), head_row(comparison, "<th class=\"count\">#</th><th>act</th>"));
  for (std::size_t i = 0; i < chapter.items.size(); ++i) html += item_row(chapter.items[i], i + 1, item_id(i));
  html += "</table></div>\n";
  for (std::size_t i = 0; i < chapter.items.size(); ++i) {
    if (!chapter.items[i].places.empty()) html += places_of(comparison, chapter.items[i], i + 1, item_id(i));
  }
  return html + "</section>\n";
}

std::string head(const Comparison& comparison) {
  HtmlFacts facts;
  facts.add("started", comparison.started);
  facts.add("on", comparison.machine);
  const auto tile = [](std::size_t value, std::string_view name) {
    return fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>", grouped(value), name);
  };
  return html_opening(comparison.name, badge(comparison.items_that_differ(), "act")) + facts.html() + html_command(comparison.command) +
         "</div></header>\n<main>\n<div class=\"tiles\">" + tile(comparison.sources.size(), "worlds") +
         tile(comparison.chapters.size(), "scenarios") + tile(comparison.items(), "acts compared") +
         tile(comparison.items_that_differ(), "acts that differ") +
         "</div><p class=\"facts\">A column tells what came of each act in that world; " + html_badge("good", equal_sign) +
         " is all that the first column's world gave, byte for byte, " + html_badge("bad", unequal_sign) +
         " is not: then each place where they are not the same stands below the table.</p>\n";
}

}  // namespace

std::size_t Comparison::items() const {
  std::size_t all = 0;
  for (const ComparedChapter& chapter : chapters) all += chapter.items.size();
  return all;
}

std::size_t Comparison::items_that_differ() const {
  std::size_t all = 0;
  for (const ComparedChapter& chapter : chapters) all += differing(chapter);
  return all;
}

std::string comparison_html(const Comparison& comparison) {
  const std::string opening = head(comparison);
  std::vector<std::string> sections(comparison.chapters.size());
  std::size_t bytes = opening.size() + last_words_bytes, left_out = 0;
  for (const bool with_differences : {true, false}) {
    for (std::size_t i = 0; i < sections.size(); ++i) {
      if ((differing(comparison.chapters[i]) > 0) != with_differences) continue;
      std::string section = chapter_html(comparison, i);
      if (bytes + section.size() > html_bytes_max) {
        ++left_out;
        continue;
      }
      bytes += section.size();
      sections[i] = std::move(section);
    }
  }
  std::string html = opening;
  for (const std::string& section : sections) html += section;
  const std::string note = left_out == 0 ? ""
                                         : fmt::format("<p>{} left out to keep the page under {}.</p>", counted(left_out, "scenario"),
                                                       human_bytes(html_bytes_max));
  return html + html_closing(note);
}

}  // namespace holdfast::reports
