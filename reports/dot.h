// Writes Graphviz DOT text, and draws it by running the program `dot`. Equal calls give equal text, so that a picture diffs in review.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "impl/core/error.h"

namespace holdfast::reports {

/// A quoted DOT string. Backslashes stand for themselves, never for an escape.
std::string dot_quoted(std::string_view text);

/// An attribute value: plain text, quoted on output, or an HTML-like label, whose parts were passed through escape_xml.
struct DotValue {
  std::string text;
  bool html = false;
  DotValue(std::string_view value) : text(value) {}    // NOLINT: implicit on purpose
  DotValue(const char* value) : text(value) {}         // NOLINT: implicit on purpose
  DotValue(const std::string& value) : text(value) {}  // NOLINT: implicit on purpose
  static DotValue html_label(std::string value) {
    DotValue label(value);
    label.html = true;
    return label;
  }
};
using DotAttributes = std::initializer_list<std::pair<std::string_view, DotValue>>;

class DotGraph {
 public:
  /// A directed graph, left to right, in the house style, under the title, an HTML-like label.
  explicit DotGraph(std::string_view name, std::string title_html);

  /// Attributes of the whole graph, over the house style.
  void settings(DotAttributes attributes);

  /// Ids are the caller's: distinct, [A-Za-z0-9_-]. They are also the ids in the SVG.
  void node(std::string_view id, DotAttributes attributes);
  /// `from` and `to` may name a port of an HTML-like label: "rank-3:out".
  void edge(std::string_view from, std::string_view to, DotAttributes attributes);
  /// Nodes in one column, top to bottom in this order.
  void column(const std::vector<std::string>& ids);

  std::size_t nodes() const { return nodes_; }
  std::string text() const { return text_ + "}\n"; }

 private:
  std::string text_;
  std::size_t nodes_ = 0;
};

/// Draws DOT text as an SVG document that follows the reader's light or dark theme.
/// Errors: unsupported when there is no program `dot`; invalid_argument when dot refuses the text or prints anything to stderr, which it
/// does for colours it paints black; io_error; timeout. Blocks until dot ends, at most a minute.
Result<std::string> render_svg(std::string_view dot_text);

}  // namespace holdfast::reports
