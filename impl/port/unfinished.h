// What was given up at a deadline and still uses its caller's memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "impl/port/tasks.h"

namespace holdfast::port {

/// Work of a device or of a task that may still read or write what it was given. Whoever gave it waits here before it lets the memory go. Any task of the
/// rank may use it; what a wait needs it must own.
class Unfinished {
 public:
  explicit Unfinished(std::shared_ptr<Monitor> monitor) : monitor_(std::move(monitor)) {}

  /// `wait`: blocks until the work is over, however it ended, or says `timeout`. Called by one task at a time, perhaps several times.
  void add(std::function<Status(Deadline)> wait) {
    monitor_->change([&] { waits_.push_back(std::move(wait)); });
  }

  /// A task that tells of its end, or whose promise goes, by `over`; also one that was said not to start, and may run all the same.
  void add(Future<void> over) {
    add([shared = std::make_shared<Future<void>>(std::move(over))](Deadline deadline) -> Status {
      const Status result = shared->get(deadline);
      return shared->pending() ? result : Status();  // what the task ended with may be a timeout, too
    });
  }

  /// Blocks until all of it is over, also what is added meanwhile. False: at the deadline some was not.
  bool await(Deadline deadline) {
    while (true) {
      std::vector<std::function<Status(Deadline)>> waits;
      bool none = false;
      monitor_->change([&] {
        waits.swap(waits_);
        in_hand_ += waits.size();
        none = in_hand_ == 0;
      });
      if (none) return true;
      if (waits.empty()) {  // another task waits for the rest
        if (!monitor_->wait("unfinished work", [&] { return in_hand_ == 0; }, deadline)) return false;
        continue;
      }
      const std::size_t taken = waits.size();
      std::erase_if(waits, [&](const auto& wait) {
        const Status over = wait(deadline);
        return over || over.error().code != ErrorCode::timeout;
      });
      const bool late = !waits.empty();
      monitor_->change([&] {
        in_hand_ -= taken;
        std::ranges::move(waits, std::back_inserter(waits_));
      });
      if (late) return false;
    }
  }

  bool empty() const {
    bool none = true;
    monitor_->change([&] { none = waits_.empty() && in_hand_ == 0; });
    return none;
  }

 private:
  std::shared_ptr<Monitor> monitor_;
  std::vector<std::function<Status(Deadline)>> waits_;
  std::size_t in_hand_ = 0;  ///< taken by those that await
};

}  // namespace holdfast::port
