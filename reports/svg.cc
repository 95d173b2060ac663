#include "reports/svg.h"

#include <fmt/format.h>

#include <cmath>

#include "reports/palette.h"
#include "reports/text.h"

namespace holdfast::reports {
namespace {

/// Two decimals at most, so that equal pictures are equal bytes and files stay small.
std::string number(double value) { return fmt::format("{:g}", std::round(value * 100) / 100); }

std::string paint(const SvgStyle& style) {
  std::string out = fmt::format(" fill=\"{}\"", style.fill);
  if (style.stroke != "none") out += fmt::format(" stroke=\"{}\" stroke-width=\"{}\"", style.stroke, number(style.stroke_width));
  if (style.dashed) out += " stroke-dasharray=\"5 4\"";
  if (style.opacity < 1) out += fmt::format(" opacity=\"{}\"", number(style.opacity));
  return out;
}

std::string closed(std::string_view element, std::string_view tooltip) {
  return tooltip.empty() ? "/>\n" : fmt::format("><title>{}</title></{}>\n", escape_xml(tooltip), element);
}

}  // namespace

void Svg::rect(const SvgRect& at, const SvgStyle& style, std::string_view tooltip) {
  body_ +=
      fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"", number(at.x), number(at.y), number(at.width), number(at.height));
  if (style.radius > 0) body_ += fmt::format(" rx=\"{}\"", number(style.radius));
  body_ += paint(style) + closed("rect", tooltip);
}

void Svg::line(double x1, double y1, double x2, double y2, const SvgStyle& style) {
  body_ += fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"{}/>\n", number(x1), number(y1), number(x2), number(y2), paint(style));
}

void Svg::polygon(std::string_view points, const SvgStyle& style, std::string_view tooltip) {
  body_ += fmt::format("<polygon points=\"{}\"{}", points, paint(style)) + closed("polygon", tooltip);
}

void Svg::text(double x, double y, std::string_view text, const SvgText& style) {
  body_ += fmt::format("<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\"", number(x), number(y), number(style.size), style.colour);
  if (style.anchor != "start") body_ += fmt::format(" text-anchor=\"{}\"", style.anchor);
  if (style.bold) body_ += " font-weight=\"bold\"";
  if (style.turned_degrees != 0)
    body_ += fmt::format(" transform=\"rotate({} {} {})\"", number(style.turned_degrees), number(x), number(y));
  body_ += fmt::format(">{}</text>\n", escape_xml(text));
}

void Svg::open_group(std::string_view id) { body_ += fmt::format("<g id=\"{}\">\n", id); }
void Svg::close_group() { body_ += "</g>\n"; }

std::string Svg::document(double width, double height, std::string_view label) const {
  const std::string w = number(width);
  const std::string h = number(height);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"{2}\""
      " font-family=\"Helvetica,Arial,Liberation Sans,sans-serif\">\n<style>{3}</style>\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"{4}\"/>\n{5}</svg>\n",
      w, h, escape_xml(label), palette::theme_css(), palette::ground, body_);
}

}  // namespace holdfast::reports
