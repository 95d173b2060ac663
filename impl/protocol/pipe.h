// Hands values from tasks to other tasks of a rank, in order.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "impl/port/tasks.h"

namespace holdfast::protocol {

/// Shared by the tasks on both ends, of any number.
template <typename T>
class Pipe {
 public:
  /// `what` names a value in messages: "a staged window".
  Pipe(port::Tasks& tasks, std::string what) : monitor_(tasks.make_monitor()), what_(std::move(what)) {}

  /// Errors: what the pipe failed with; the value is dropped.
  Status push(T value) {
    std::optional<Error> failure;
    monitor_->change([&] {
      if (failure_) {
        failure = failure_;
      } else {
        values_.push_back(std::move(value));
      }
    });
    return failure ? Status(holdfast::fail(*std::move(failure))) : Status();
  }

  /// Blocks until there is a value; none when the pipe is closed and empty. Errors: what the pipe failed with; timeout.
  Result<std::optional<T>> pop(port::Deadline deadline) {
    std::optional<T> value;
    std::optional<Error> failure;
    const auto over = [&] {
      failure = failure_;
      if (!failure && !values_.empty()) {
        value = std::move(values_.front());
        values_.pop_front();
      }
      return failure || value || closed_;
    };
    bool at_once = false;
    monitor_->change([&] { at_once = over(); });
    if (!at_once) TRY(monitor_->wait(what_, over, deadline));
    if (failure) return holdfast::fail(*std::move(failure));
    return value;
  }

  /// No more values will come.
  void close() {
    monitor_->change([&] { closed_ = true; });
  }

  /// Both ends get this error from now on, and what was not taken is dropped. The first failure counts.
  void fail(Error error) {
    std::deque<T> dropped;  // after the change: what owns memory may call back
    monitor_->change([&] {
      if (!failure_) failure_ = std::move(error);
      dropped.swap(values_);
    });
  }

 private:
  std::shared_ptr<port::Monitor> monitor_;
  std::string what_;
  std::deque<T> values_;
  bool closed_ = false;
  std::optional<Error> failure_;
};

}  // namespace holdfast::protocol
