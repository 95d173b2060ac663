// The time axis of a space-time picture: linear, with long waits cut out.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "impl/core/event.h"

namespace holdfast::reports {

class TimeAxis {
 public:
  /// Maps the events' times to [left, left + width]. Cut out are waits, in which no event begins or ends, that are long beside all that
  /// is left: nothing is lost but waiting.
  TimeAxis(const std::vector<TraceEvent>& events, double left, double width);

  /// Of event number i.
  double begin_of(std::size_t event) const { return positions_[event].first; }
  double end_of(std::size_t event) const { return positions_[event].second; }
  bool by_order() const { return by_order_; }  ///< no event lasts and none follows another: drawn by their order

  using Mark = std::pair<double, std::string>;  ///< position and text
  const std::vector<Mark>& ticks() const { return ticks_; }
  const std::vector<Mark>& breaks() const { return breaks_; }  ///< the left edge of each cut, and the time it leaves out
  double break_width() const;

 private:
  void place_by_time(const std::vector<TraceEvent>& events, double left, double width);

  std::vector<std::pair<double, double>> positions_;
  std::vector<Mark> ticks_;
  std::vector<Mark> breaks_;
  bool by_order_ = false;
};

}  // namespace holdfast::reports
