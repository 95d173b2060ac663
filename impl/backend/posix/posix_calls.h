// The system calls of PosixStorage whose failures cannot be made at will on a real file system. Tests replace them.
#pragma once

#include <fcntl.h>
#include <liburing.h>
#include <sys/types.h>
#include <unistd.h>

#include "impl/backend/posix/io_request.h"

namespace holdfast::backend {

/// Each is the system call of its name, errno and all. They run on several threads at once.
class PosixCalls {
 public:
  virtual ~PosixCalls() = default;
  virtual int openat(int directory, const char* path, int flags, mode_t mode) { return ::openat(directory, path, flags, mode); }
  virtual ssize_t pread(int fd, void* data, size_t bytes, off_t offset) { return ::pread(fd, data, bytes, offset); }
  virtual ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) { return ::pwrite(fd, data, bytes, offset); }
  virtual int fallocate(int fd, off_t offset, off_t bytes) { return ::fallocate(fd, 0, offset, bytes); }
  virtual int fsync(int fd) { return ::fsync(fd); }
  virtual int close(int fd) { return ::close(fd); }
  virtual int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) {
    return ::linkat(from_directory, from, to_directory, to, flags);
  }

  // liburing's, which give -errno.
  virtual int ring_init(unsigned entries, io_uring* ring) { return ::io_uring_queue_init(entries, ring, 0); }
  virtual int ring_submit_and_wait(io_uring* ring) { return ::io_uring_submit_and_wait(ring, 1); }
  /// What the ring says of `request`: `result` as the kernel gave it.
  virtual int ring_result(const IoRequest& request, int result) { return static_cast<void>(request), result; }
};

}  // namespace holdfast::backend
