#include "reports/plan_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reports/palette.h"
#include "reports/text.h"

namespace holdfast::reports {

std::string coloured(std::string_view text, std::string_view colour) {
  if (text.empty()) return "";  // dot refuses an empty element
  return fmt::format("<FONT COLOR=\"{}\">{}</FONT>", colour, escape_xml(text));
}

std::string bold(std::string_view text) { return text.empty() ? "" : "<B>" + escape_xml(text) + "</B>"; }

std::string bar(double share, std::string_view colour) {
  constexpr int width = 180;  // of a card: a wider one would be spread between the two cells
  const int full = std::clamp(static_cast<int>(std::lround(share * width)), share > 0 ? 1 : 0, width);
  const auto cell = [](int cell_width, std::string_view fill) {
    return cell_width == 0 ? std::string()
                           : fmt::format("<TD FIXEDSIZE=\"TRUE\" WIDTH=\"{}\" HEIGHT=\"7\" BGCOLOR=\"{}\"></TD>", cell_width, fill);
  };
  return "<TABLE ALIGN=\"LEFT\" BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"0\"><TR>" + cell(full, colour) +
         cell(width - full, palette::line) + "</TR></TABLE>";
}

std::string card(std::string_view rows) {
  return fmt::format(
      "<TABLE BORDER=\"1\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"4\" STYLE=\"ROUNDED\" COLOR=\"{}\" BGCOLOR=\"{}\">{}</TABLE>",
      palette::line, palette::panel, rows);
}

std::string card_row(std::string_view left_html, std::string_view right_html) {
  // Readers of SVG have other fonts than dot measured with: room at the right keeps words inside the card.
  constexpr std::string_view room = "<TD WIDTH=\"8\"></TD></TR>";
  if (right_html.empty()) return fmt::format("<TR><TD ALIGN=\"LEFT\" COLSPAN=\"2\">{}</TD>{}", left_html, room);
  return fmt::format("<TR><TD ALIGN=\"LEFT\">{}</TD><TD ALIGN=\"RIGHT\">{}</TD>{}", left_html, right_html, room);
}

std::string picture_title(std::string_view headline_html, std::string_view numbers_html, std::string_view note_html) {
  const auto row = [](std::string_view cell) { return fmt::format("<TR><TD ALIGN=\"LEFT\">{}</TD></TR>", cell); };
  std::string rows = row(fmt::format("<FONT POINT-SIZE=\"17\"><B>{}</B></FONT>", headline_html)) + row(numbers_html);
  if (!note_html.empty()) rows += row(note_html);
  return "<TABLE BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"3\">" + rows + "</TABLE>";
}

DotValue edge_label(std::string_view text) { return DotValue::html_label(escape_xml(text) + "<BR/><FONT POINT-SIZE=\"5\"> </FONT>"); }

std::string span_text(std::uint64_t low, std::uint64_t high) {
  const std::string from = human_bytes(low), to = human_bytes(high);
  return from == to ? from : from + " \xE2\x80\x93 " + to;
}

std::string_view amplification_colour(double amplification) {
  return amplification <= 1.05 ? palette::blue : amplification <= 2 ? palette::orange : palette::vermillion;
}

}  // namespace holdfast::reports
