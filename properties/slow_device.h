// A device whose work is not over before a certain time.
#pragma once

#include <algorithm>

#include "impl/port/clock.h"
#include "impl/port/device.h"

namespace holdfast::properties {

class SlowDevice final : public port::Device {
 public:
  /// Nothing that is enqueued is known to be done before `free_at`.
  SlowDevice(port::Device& inner, port::Clock& clock, port::TimePoint free_at) : inner_(inner), clock_(clock), free_at_(free_at) {}

  port::TimePoint free_at() const { return free_at_; }
  /// It was given work that it still has to do.
  bool busy() const { return enqueued_ && clock_.now() < free_at_; }

  Result<port::Buffer> allocate_staging(std::size_t bytes) override { return inner_.allocate_staging(bytes); }
  Result<port::Buffer> allocate_device(std::size_t bytes) override { return inner_.allocate_device(bytes); }
  Result<port::StreamId> create_stream() override { return inner_.create_stream(); }
  void destroy_stream(port::StreamId stream) override { inner_.destroy_stream(stream); }
  Status stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) override {
    enqueued_ = true;
    return inner_.stage(items, std::move(owner), stream);
  }
  Status unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) override {
    enqueued_ = true;
    return inner_.unstage(items, std::move(owner), stream);
  }
  Result<port::EventId> record(port::StreamId stream) override { return inner_.record(stream); }
  void destroy_event(port::EventId event) override { inner_.destroy_event(event); }
  Status wait(port::StreamId stream, port::EventId event) override { return inner_.wait(stream, event); }
  Status synchronize(port::EventId event, port::Deadline deadline) override {
    if (!enqueued_) return inner_.synchronize(event, deadline);
    clock_.sleep_until(std::min(free_at_, deadline.at));
    if (clock_.now() < free_at_) return fail(ErrorCode::timeout, "a slow device: not done before its time");
    return inner_.synchronize(event, deadline);
  }

 private:
  port::Device& inner_;
  port::Clock& clock_;
  port::TimePoint free_at_;
  bool enqueued_ = false;  // by tasks of one rank, which the caller of busy() has waited for
};

}  // namespace holdfast::properties
