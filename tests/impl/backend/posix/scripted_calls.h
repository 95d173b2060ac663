// PosixCalls that can be made to fail, to be short, to be interrupted and to hang.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>

#include "impl/backend/posix/posix_calls.h"

namespace holdfast::test {

class ScriptedCalls : public backend::PosixCalls {
 public:
  // An errno, or 0 for the real call.
  std::atomic<int> pread_errno{0};
  std::atomic<int> pwrite_errno{0};
  std::atomic<int> fsync_errno{0};
  std::atomic<int> close_errno{0};
  std::atomic<int> linkat_errno{0};
  std::atomic<std::size_t> bytes_max{1u << 30};  ///< of one pread or pwrite
  std::atomic<int> interruptions{0};             ///< that many calls fail with EINTR first
  std::atomic<long> write_budget{1L << 40};      ///< bytes until the disk is full

  /// Makes every later pwrite and fsync wait until release().
  void hold() {
    const std::scoped_lock lock(mutex_);
    held_ = true;
  }
  void release() {
    const std::scoped_lock lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  /// Blocks until `count` calls are held.
  void wait_held(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return holding_ >= count; });
  }

  ssize_t pread(int fd, void* data, size_t bytes, off_t offset) override {
    if (refused(pread_errno)) return -1;
    return PosixCalls::pread(fd, data, std::min(bytes, bytes_max.load()), offset);
  }
  ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) override {
    gate();
    if (refused(pwrite_errno)) return -1;
    const long left = write_budget.load();
    if (left == 0) {
      errno = ENOSPC;
      return -1;
    }
    const size_t most = std::min({bytes, bytes_max.load(), static_cast<size_t>(left)});
    write_budget -= static_cast<long>(most);
    return PosixCalls::pwrite(fd, data, most, offset);
  }
  int fsync(int fd) override {
    gate();
    return refused(fsync_errno) ? -1 : PosixCalls::fsync(fd);
  }
  int close(int fd) override {
    const int closed = PosixCalls::close(fd);  // as on Linux: the descriptor is gone even when the call fails
    return refused(close_errno) ? -1 : closed;
  }
  int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) override {
    return refused(linkat_errno) ? -1 : PosixCalls::linkat(from_directory, from, to_directory, to, flags);
  }

 private:
  bool refused(const std::atomic<int>& number) {
    if (interruptions > 0) {
      --interruptions;
      errno = EINTR;
      return true;
    }
    errno = number;
    return number != 0;
  }
  void gate() {
    std::unique_lock lock(mutex_);
    ++holding_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_; });
    --holding_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  int holding_ = 0;
};

}  // namespace holdfast::test
