// The colours of every picture: safe for the colour-blind (after Okabe and Ito), each with its twin on a dark ground.
//
// Pictures are drawn in the light colours. theme_css() swaps each for its twin where the reader prefers dark, by the colour's own text in
// the SVG, so that no picture has to know of themes. Colour never stands alone: a word, a number or a shape always says the same.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::reports::palette {

inline constexpr std::string_view ground = "#ffffff";      ///< behind everything
inline constexpr std::string_view panel = "#f4f6f9";       ///< a card
inline constexpr std::string_view band = "#e9edf3";        ///< every other stripe
inline constexpr std::string_view line = "#c3ccd9";        ///< frames and rules
inline constexpr std::string_view ink = "#17202e";         ///< text
inline constexpr std::string_view soft = "#5b6778";        ///< text of less weight
inline constexpr std::string_view blue = "#0072b2";        ///< storage; ordinary bytes
inline constexpr std::string_view sky = "#56b4e9";         ///< data plane
inline constexpr std::string_view green = "#009e73";       ///< control network; good
inline constexpr std::string_view orange = "#e69f00";      ///< a warning; device
inline constexpr std::string_view vermillion = "#d55e00";  ///< a fault; bad
inline constexpr std::string_view purple = "#b3528f";      ///< replicated tensors
inline constexpr std::string_view grey = "#8b96a5";        ///< clock and tasks; not reached

/// The rules of the swap, for a <style> element.
std::string theme_css();

}  // namespace holdfast::reports::palette
