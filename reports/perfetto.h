// A trace for ui.perfetto.dev and chrome://tracing: a process a node, a track a rank (and one for each of its tasks), steps around calls.
#pragma once

#include <string>

#include "impl/core/event.h"

namespace holdfast::reports {

/// JSON in the Trace Event Format. `ranks_a_node` neighbouring ranks share a node; at least 1.
std::string perfetto_json(const TraceRecord& trace, int ranks_a_node = 8);

}  // namespace holdfast::reports
