// Reports and traces as JSON text, versioned: {"format": "holdfast.report", "version": 1, ...}.
#pragma once

#include <string>
#include <string_view>

#include "impl/core/error.h"
#include "impl/core/event.h"
#include "reports/campaign_report.h"

namespace holdfast::reports {

/// Equal values give equal text. Bytes that are no UTF-8 become U+FFFD.
std::string to_json(const CampaignReport& report);
std::string to_json(const TraceRecord& trace);

/// Total: any text gives a value or an error. Fields that are missing keep their defaults; unknown fields are ignored.
/// Errors: corrupt for text that is no JSON or holds a value of the wrong type; invalid_argument for JSON of another format; unsupported
/// for a later version.
Result<CampaignReport> report_from_json(std::string_view text);
Result<TraceRecord> trace_from_json(std::string_view text);

}  // namespace holdfast::reports
