// A campaign as one HTML page that needs nothing else: no network, no script, no second file. It opens from a disk, follows the reader's
// light or dark theme, and every part has an id to link to: #failure-1, #act-2, #act-2-picture-1, #coverage, #marks.
#pragma once

#include <string>
#include <string_view>

#include "reports/campaign_report.h"

namespace holdfast::reports {

/// Pages are smaller than this. What does not fit is left out, pictures first, and the page says so in its place.
inline constexpr std::size_t html_bytes_max = 2'000'000;

std::string html_report(const CampaignReport& report);

/// The picture as a part of a page: without what only a document of its own needs, its ids behind `prefix`. Empty when it is no SVG, runs
/// scripts, or refers to anything outside itself.
std::string embedded_svg(std::string_view svg, std::string_view prefix);

}  // namespace holdfast::reports
