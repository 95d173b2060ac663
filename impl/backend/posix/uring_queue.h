// A queue over one io_uring.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "impl/backend/posix/io_queue.h"
#include "impl/core/error.h"

namespace holdfast::backend {

class UringQueue : public IoQueue {
 public:
  /// Sets a ring up and sends an empty request through it: containers forbid one or the other.
  /// Errors: io_error or out_of_memory, "io_uring: " and the reason.
  static Result<std::unique_ptr<IoQueue>> open(std::shared_ptr<PosixCalls> calls);
  ~UringQueue() override;
  UringQueue(const UringQueue&) = delete;
  UringQueue& operator=(const UringQueue&) = delete;

  std::size_t depth() const override { return queue_depth; }
  std::size_t request_bytes() const override { return std::size_t{16} << 20; }
  void start(const IoRequest& request, std::size_t tag) override;
  IoCompletion wait() override;
  bool usable() const override { return refused_ == 0; }

 private:
  // Up to 256 MiB ahead of the device: on a machine busy with other things the waiter may wait its turn for tens of milliseconds (measured
  // with 14 runnable threads on 2 cores, GB/s written and read: 4 MiB at depth 8: 3.2 and 3.6, at 64: 4.2 and 3.9; 16 MiB at 8: 4.2 and
  // 3.9).
  static constexpr std::size_t queue_depth = 16;

  explicit UringQueue(std::shared_ptr<PosixCalls> calls) : calls_(std::move(calls)), requests_(queue_depth) {}
  Status try_out();

  const std::shared_ptr<PosixCalls> calls_;
  io_uring ring_{};
  bool open_ = false;
  std::vector<IoRequest> requests_;  // by tag
  std::deque<std::size_t> unsent_;   // tags the kernel has not taken, oldest first
  int refused_ = 0;                  // the errno with which the kernel stopped taking requests
};

}  // namespace holdfast::backend
