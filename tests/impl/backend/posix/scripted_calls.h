// PosixCalls that can be made to fail, to be short, to be interrupted and to hang. A ring is scripted where its results come out: the
// kernel has moved the bytes then, so that a short result is a request to move some of them again, and a failed one leaves them in the
// file.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <limits>
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
  std::atomic<int> fallocate_errno{0};
  std::atomic<int> unnamed_errno{0};             ///< of an open with O_TMPFILE
  std::atomic<int> direct_open_errno{0};         ///< of an open with O_DIRECT
  std::atomic<int> direct_errno{0};              ///< of a read or write on what was opened so
  std::atomic<int> ring_init_errno{0};           ///< of setting a ring up
  std::atomic<int> ring_submit_errno{0};         ///< of handing requests to a ring
  std::atomic<std::size_t> bytes_max{1u << 30};  ///< of one read or write
  std::atomic<int> interruptions{0};             ///< that many calls fail with EINTR first
  std::atomic<long> write_budget{1L << 40};      ///< bytes until the disk is full
  std::atomic<long> transfers_until_eio{1L << 40};
  std::atomic<long> transfers{0};     ///< reads and writes
  std::atomic<long> reservations{0};  ///< calls of fallocate

  /// Makes the next `calls` writes, ring submissions and fsyncs wait until release().
  void hold(int calls = std::numeric_limits<int>::max()) {
    const std::scoped_lock lock(mutex_);
    to_hold_ = calls;
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

  int openat(int directory, const char* path, int flags, mode_t mode) override {
    if ((flags & O_TMPFILE) == O_TMPFILE && refused(unnamed_errno)) return -1;
    if ((flags & O_DIRECT) != 0 && refused(direct_open_errno)) return -1;
    return PosixCalls::openat(directory, path, flags, mode);
  }
  ssize_t pread(int fd, void* data, size_t bytes, off_t offset) override {
    if (interrupted() || transfer_refused(fd, pread_errno)) return -1;
    return shortened(PosixCalls::pread(fd, data, is_direct(fd) ? bytes : std::min(bytes, bytes_max.load()), offset));
  }
  ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) override {
    gate();
    if (interrupted() || transfer_refused(fd, pwrite_errno)) return -1;
    const size_t most = granted(bytes);
    return most == 0 ? -1 : shortened(PosixCalls::pwrite(fd, data, is_direct(fd) ? bytes : most, offset));
  }
  int fallocate(int fd, off_t offset, off_t bytes) override {
    ++reservations;
    return refused(fallocate_errno) ? -1 : PosixCalls::fallocate(fd, offset, bytes);
  }
  int fsync(int fd) override {
    gate();
    return interrupted() || refused(fsync_errno) ? -1 : PosixCalls::fsync(fd);
  }
  int close(int fd) override {
    const int closed = PosixCalls::close(fd);  // as on Linux: the descriptor is gone even when the call fails
    return refused(close_errno) ? -1 : closed;
  }
  int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) override {
    return refused(linkat_errno) ? -1 : PosixCalls::linkat(from_directory, from, to_directory, to, flags);
  }

  int ring_init(unsigned entries, io_uring* ring) override {
    return refused(ring_init_errno) ? -errno : PosixCalls::ring_init(entries, ring);
  }
  int ring_submit_and_wait(io_uring* ring) override {
    gate();
    return interrupted() || refused(ring_submit_errno) ? -errno : PosixCalls::ring_submit_and_wait(ring);
  }
  int ring_result(const backend::IoRequest& request, int result) override {
    if (request.fd < 0) return result;  // the empty request
    const bool read = request.kind == backend::IoKind::read;
    if (interrupted() || transfer_refused(request.fd, read ? pread_errno : pwrite_errno)) return -errno;
    if (result <= 0) return result;
    const size_t most = read ? std::min(static_cast<size_t>(result), bytes_max.load()) : granted(static_cast<size_t>(result));
    return most == 0 ? -errno : static_cast<int>(most);
  }

 private:
  static bool is_direct(int fd) { return (::fcntl(fd, F_GETFL) & O_DIRECT) != 0; }
  /// O_DIRECT takes no odd numbers of bytes: it moves all of them, and we say fewer.
  ssize_t shortened(ssize_t moved) { return std::min(moved, static_cast<ssize_t>(bytes_max.load())); }
  bool interrupted() {
    if (interruptions <= 0) return false;
    --interruptions;
    errno = EINTR;
    return true;
  }
  static bool refused(int number) {
    errno = number;
    return number != 0;
  }
  bool transfer_refused(int fd, int number) {
    ++transfers;
    if (transfers_until_eio-- <= 0) return refused(EIO);
    if (is_direct(fd) && refused(direct_errno)) return true;
    return refused(number);
  }
  /// How much of a write is done; 0 with errno when the disk is full.
  size_t granted(size_t bytes) {
    const size_t most = std::min({bytes, bytes_max.load(), static_cast<size_t>(write_budget.load())});
    write_budget -= static_cast<long>(most);
    errno = ENOSPC;
    return most;
  }
  void gate() {
    std::unique_lock lock(mutex_);
    if (!held_ || to_hold_ == 0) return;
    --to_hold_;
    ++holding_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_; });
    --holding_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  int to_hold_ = 0;
  int holding_ = 0;
};

}  // namespace holdfast::test
