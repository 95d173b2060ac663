// The doors, handed down. Never global.
#pragma once

#include <memory>
#include <string_view>

#include "impl/port/clock.h"
#include "impl/port/data_plane.h"
#include "impl/port/device.h"
#include "impl/port/net.h"
#include "impl/port/storage.h"
#include "impl/port/tasks.h"
#include "impl/port/unfinished.h"

namespace holdfast::port {

/// Told which numbered step of the protocol a rank enters ("4 write"). For traces and progress; changes nothing.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void entered(std::string_view step) = 0;
};

/// The doors of one rank. Whoever hands it down keeps them alive until the work that was given it, and the tasks that work left behind, have ended.
struct Env {
  Net& net;
  DataPlane& data;
  Storage& storage;
  Device& device;
  Clock& clock;
  Tasks& tasks;
  Observer* observer = nullptr;
  std::shared_ptr<Unfinished> unfinished = nullptr;  ///< of the session; without one, who waits in vain forgets

  void enter(std::string_view step) const {
    if (observer) observer->entered(step);
  }
};

}  // namespace holdfast::port
