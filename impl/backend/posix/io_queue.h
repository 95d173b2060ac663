// A queue of reads and writes to the kernel: what Transfer drives, whatever stands behind it.
#pragma once

#include <memory>

#include "impl/backend/posix/io_request.h"
#include "impl/backend/posix/posix_calls.h"

namespace holdfast::backend {

struct IoCompletion {
  std::size_t tag = 0;
  std::int64_t result = 0;  ///< bytes moved, fewer than asked perhaps; 0 at the end of the file; or -errno
};

/// Used by one thread at a time. May be destroyed only when every request that was started has come back.
class IoQueue {
 public:
  virtual ~IoQueue() = default;
  virtual std::size_t depth() const = 0;          ///< requests that may be under way at once
  virtual std::size_t request_bytes() const = 0;  ///< what one request should carry at most: more gains nothing
  /// Hands a request over. Its memory must live until wait() gives `tag` back.
  virtual void start(const IoRequest& request, std::size_t tag) = 0;
  /// Blocks until a request that was started is done, in any order. Requires: one is under way.
  virtual IoCompletion wait() = 0;
  /// False when the kernel takes no more requests from it: those that are started come back with the reason.
  virtual bool usable() const { return true; }
};

/// The calling thread's own pread and pwrite, one at a time. Requests are large: past the page cache the kernel cuts one into many for the
/// device, which are then under way at once (measured: 64 MiB at a time is as fast as a ring).
class CallQueue : public IoQueue {
 public:
  explicit CallQueue(std::shared_ptr<PosixCalls> calls) : calls_(std::move(calls)) {}
  std::size_t depth() const override { return 1; }
  std::size_t request_bytes() const override { return std::size_t{64} << 20; }
  void start(const IoRequest& request, std::size_t tag) override;
  IoCompletion wait() override { return completion_; }

 private:
  const std::shared_ptr<PosixCalls> calls_;
  IoCompletion completion_;
};

}  // namespace holdfast::backend
