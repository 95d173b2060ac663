// Parts of HTML-like labels that the pictures of plans share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "reports/dot.h"

namespace holdfast::reports {

/// Text in a colour; the text is escaped.
std::string coloured(std::string_view text, std::string_view colour);
std::string bold(std::string_view text);
/// A bar `share` (0 to 1) full.
std::string bar(double share, std::string_view colour);
/// A card of the given rows, each "<TR>...</TR>".
std::string card(std::string_view rows);
/// A row of a card: one cell at each side, or one over both. Texts of two colours stand in two cells, because readers of SVG do not agree
/// on blanks at the end of a text.
std::string card_row(std::string_view left_html, std::string_view right_html = {});
/// The title of a picture: a large bold line, then ordinary ones. All are HTML already.
std::string picture_title(std::string_view headline_html, std::string_view numbers_html, std::string_view note_html);
/// A text above its line: dot sets labels on a level line so close that the line strikes them.
DotValue edge_label(std::string_view text);
/// "9.4 GiB", or "9.4 GiB – 9.6 GiB" where the two read differently.
std::string span_text(std::uint64_t low, std::uint64_t high);
/// Blue up to 1.05, orange up to 2, vermillion beyond.
std::string_view amplification_colour(double amplification);

}  // namespace holdfast::reports
