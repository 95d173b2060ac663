// A device in host memory: fresh memory is poisoned, and work queued on streams runs at the latest legal moment or any earlier
// one, by decision.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "impl/port/device.h"
#include "sim/kernel.h"

namespace holdfast::sim {

class Device final : public port::Device {
 public:
  Device(Kernel& kernel, RankState& rank);
  ~Device() override;

  Result<port::Buffer> allocate_staging(std::size_t bytes) override;
  Result<port::Buffer> allocate_device(std::size_t bytes) override;
  Result<port::StreamId> create_stream() override;
  void destroy_stream(port::StreamId stream) override;
  Status stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) override;
  Status unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) override;
  Result<port::EventId> record(port::StreamId stream) override;
  void destroy_event(port::EventId event) override;
  Status wait(port::StreamId stream, port::EventId event) override;
  Status synchronize(port::EventId event, port::Deadline deadline) override;

  /// Gives up what is still queued and counts what is still there into the rank's leak. Call when the rank ended.
  void account();

 private:
  struct Allocation;
  struct Ledger;
  struct Point {  // everything before the position-th piece of work on a stream
    std::size_t stream = 0;
    std::uint64_t position = 0;
  };
  struct Work {
    Op op = Op::device_wait;
    std::function<void()> run;  // null: waits for `after`
    Point after;
    std::shared_ptr<const void> owner;                // the caller's promise about the host side
    std::vector<std::shared_ptr<Allocation>> uses{};  // ours, so that a broken promise is reported and harms nobody else
  };
  struct Stream {
    std::deque<Work> queue;
    std::uint64_t enqueued = 0;
    bool alive = true;
  };
  struct Event {
    Point point;
    bool alive = true;
  };
  struct CreateStream;
  struct Record;

  Result<port::Buffer> allocate(Op op, std::size_t bytes, MemoryKind kind);
  Status enqueue(port::StreamId stream, std::uint64_t bytes, const std::vector<const std::byte*>& touched, Work work);
  void run_until(Point point);
  void progress(std::size_t stream);
  Stream* find(port::StreamId stream);
  Event* find(port::EventId event);

  Kernel& kernel_;
  RankState& rank_;
  std::shared_ptr<Ledger> ledger_;  // buffers may outlive the run
  std::vector<Stream> streams_;
  std::vector<Event> events_;
};

}  // namespace holdfast::sim
