// A device whose work is not over before a certain time.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "impl/port/clock.h"
#include "impl/port/device.h"

namespace holdfast::properties {

/// Used by the fibres of one rank.
class SlowDevice final : public port::Device {
 public:
  /// Nothing that is enqueued is known to be done before `free_at`, but for the first `quick` calls of stage().
  SlowDevice(port::Device& inner, port::Clock& clock, port::TimePoint free_at, int quick = 0)
      : inner_(inner), clock_(clock), free_at_(free_at), quick_(quick), memory_(std::make_shared<Memory>(clock, free_at)) {}

  port::TimePoint free_at() const { return free_at_; }
  /// It was given work that it still has to do.
  bool busy() const { return enqueued_ && clock_.now() < free_at_; }
  /// Whether device memory was freed that its work still read.
  bool lost_memory() const { return memory_->lost; }
  /// Once it is free: lets go of what its work used.
  void end() { owners_.clear(); }

  Result<port::Buffer> allocate_staging(std::size_t bytes) override { return inner_.allocate_staging(bytes); }
  Result<port::Buffer> allocate_device(std::size_t bytes) override {
    port::Buffer buffer = TRY(inner_.allocate_device(bytes));
    const ByteSpan span = buffer.bytes;
    const auto free = [memory = memory_, span, inner = std::move(buffer.owner)](void*) mutable {
      memory->free(span);
      inner.reset();
    };
    return port::Buffer{span, std::shared_ptr<void>(span.data(), free), buffer.kind};
  }
  Result<port::StreamId> create_stream() override { return inner_.create_stream(); }
  void destroy_stream(port::StreamId stream) override { inner_.destroy_stream(stream); }
  Status stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) override {
    if (quick_-- > 0) return inner_.stage(items, std::move(owner), stream);
    enqueued_ = true;
    owners_.push_back(owner);
    for (const port::StageItem& item : items) memory_->reads.push_back(item.source.data);
    return inner_.stage(items, std::move(owner), stream);
  }
  Status unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) override {
    enqueued_ = true;
    owners_.push_back(owner);
    return inner_.unstage(items, std::move(owner), stream);
  }
  Result<port::EventId> record(port::StreamId stream) override { return inner_.record(stream); }
  void destroy_event(port::EventId event) override { inner_.destroy_event(event); }
  Status wait(port::StreamId stream, port::EventId event) override { return inner_.wait(stream, event); }
  Status synchronize(port::EventId event, port::Deadline deadline) override {
    if (!enqueued_) return inner_.synchronize(event, deadline);
    clock_.sleep_until(std::min(free_at_, deadline.at));
    if (clock_.now() < free_at_) return fail(ErrorCode::timeout, "a slow device: not done before its time");
    end();
    return inner_.synchronize(event, deadline);
  }

 private:
  /// Shared with buffers, which may outlive the device.
  struct Memory {
    Memory(port::Clock& the_clock, port::TimePoint until) : clock(the_clock), free_at(until) {}
    void free(ByteSpan bytes) {
      const auto is_inside = [&](const std::byte* read) { return read >= bytes.data() && read < bytes.data() + bytes.size(); };
      if (std::ranges::any_of(reads, is_inside) && clock.now() < free_at) lost = true;
    }
    port::Clock& clock;
    port::TimePoint free_at;
    std::vector<const std::byte*> reads;
    bool lost = false;
  };

  port::Device& inner_;
  port::Clock& clock_;
  port::TimePoint free_at_;
  int quick_;
  bool enqueued_ = false;  // by tasks of one rank, which the caller of busy() has waited for
  std::shared_ptr<Memory> memory_;
  std::vector<std::shared_ptr<const void>> owners_;  ///< of what its work uses
};

}  // namespace holdfast::properties
