// What happened when, on which rank: a lane a rank, time from left to right, one small box a door call, the protocol's steps behind them,
// and the fault as a mark. Answers: where did it break?
#pragma once

#include <string>
#include <vector>

#include "impl/core/event.h"

namespace holdfast::reports {

struct SpaceTimeOptions {
  std::size_t lanes_max = 16;    ///< ranks with lanes of their own; all others share one
  std::size_t boxes_max = 2500;  ///< calls too close to be told apart are drawn as one box, with their number
};

/// An SVG document. Ranks with faults come first into the lanes, then ranks with errors, then ranks spread evenly. Long waits are cut out
/// of the axis, marked and named. Without any duration, the axis is the order of the events.
std::string space_time_svg(const TraceRecord& trace, const SpaceTimeOptions& options = {});

}  // namespace holdfast::reports
