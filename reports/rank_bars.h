// Bytes a rank as bars: is one rank overloaded?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::reports {

struct RankBars {
  std::string title;  ///< "llama"
  struct Row {
    std::string what;  ///< "Written", "Needed"
    std::string by;    ///< "mesh torchtitan-512"
    std::vector<std::uint64_t> rank_bytes;
  };
  std::vector<Row> rows;  ///< one below the other, each on its own scale
};

/// An SVG document. Above 256 ranks neighbours share a bar: light up to their largest, full up to their smallest. The mean is a line; the largest rank is
/// marked and named, in vermillion where it has more than 1.25 times the mean.
std::string rank_bars_svg(const RankBars& bars);

}  // namespace holdfast::reports
