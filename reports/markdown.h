// A campaign as a GitHub step summary.
#pragma once

#include <string>

#include "reports/campaign_report.h"

namespace holdfast::reports {

/// GitHub refuses a summary from 1 MiB on.
inline constexpr std::size_t markdown_bytes_max = 1'000'000;

/// Markdown of at most `bytes_max` bytes, which is at least 1,000: lists that are too long end with how many were left out. Pictures are for html.h.
std::string markdown_summary(const CampaignReport& report, std::size_t bytes_max = markdown_bytes_max);

}  // namespace holdfast::reports
