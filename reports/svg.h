// Writes SVG. Lengths are in pixels; colours are those of palette.h.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::reports {

struct SvgRect {
  double x = 0, y = 0, width = 0, height = 0;
};

struct SvgStyle {
  std::string_view fill = "none";
  std::string_view stroke = "none";
  double stroke_width = 1;
  bool dashed = false;
  double opacity = 1;
  double radius = 0;  ///< of a rectangle's corners
};

struct SvgText {
  std::string_view colour;
  double size = 12;
  std::string_view anchor = "start";  ///< or "middle", "end"
  bool bold = false;
  double turned_degrees = 0;  ///< about its own position
};

class Svg {
 public:
  /// `tooltip`, where given, is shown by browsers when the pointer rests on the shape. Not escaped by the caller.
  void rect(const SvgRect& at, const SvgStyle& style, std::string_view tooltip = {});
  void line(double x1, double y1, double x2, double y2, const SvgStyle& style);
  /// A closed outline through "x,y x,y ...".
  void polygon(std::string_view points, const SvgStyle& style, std::string_view tooltip = {});
  /// Escaped here.
  void text(double x, double y, std::string_view text, const SvgText& style);
  /// A group with an id that links can point to: [A-Za-z0-9_-].
  void open_group(std::string_view id);
  void close_group();

  /// The document, on a ground that follows the reader's theme. `label` is read aloud by screen readers.
  std::string document(double width, double height, std::string_view label) const;

 private:
  std::string body_;
};

}  // namespace holdfast::reports
