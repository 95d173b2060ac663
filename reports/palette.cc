#include "reports/palette.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace holdfast::reports::palette {

std::string theme_css() {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 13> twins{{
      {ground, "#0f141b"},
      {panel, "#171e28"},
      {band, "#1d2632"},
      {line, "#3a4657"},
      {ink, "#e7ecf3"},
      {soft, "#9aa7b8"},
      {blue, "#4aa8e0"},
      {sky, "#7cc8f2"},
      {green, "#2fc297"},
      {orange, "#f0b429"},
      {vermillion, "#ff8a45"},
      {purple, "#de8fc0"},
      {grey, "#7a8696"},
  }};
  std::string css = "@media (prefers-color-scheme:dark){";
  for (const auto& [light, dark] : twins) {
    css += fmt::format("svg [fill=\"{0}\"]{{fill:{1}}}svg [stroke=\"{0}\"]{{stroke:{1}}}", light, dark);
  }
  return css + "}";
}

}  // namespace holdfast::reports::palette
