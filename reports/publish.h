// Reports where continuous integration looks for them: a JUnit file, and the summary of a step on GitHub.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "impl/core/error.h"
#include "reports/campaign_report.h"
#include "reports/junit.h"

namespace holdfast::reports {

struct Publication {
  std::string junit;    ///< file to write JUnit XML to; empty: none
  std::string summary;  ///< file to write the Markdown summary to; empty: none
};

/// Writes what `where` names. Where the environment variable GITHUB_STEP_SUMMARY names a file, appends the summary to it too, cut so that the file
/// stays under the 1 MiB that GitHub takes. Errors: io_error; no_space when that file has no room for a useful summary.
Status publish(const CampaignReport& report, const std::vector<JunitCase>& cases, const Publication& where);

/// Replaces the file, and makes the folders above it. Errors: io_error.
Status write_text_file(const std::string& path, std::string_view text);

/// The time of day in UTC, as strftime's `format` has it.
std::string utc(const char* format);
/// "Linux 6.1.0 x86_64, 2 cores".
std::string machine();

}  // namespace holdfast::reports
