// The system calls of PosixStorage whose failures cannot be made at will on a real file system. Tests replace them.
#pragma once

#include <sys/types.h>
#include <unistd.h>

namespace holdfast::backend {

/// Each is the system call of its name, errno and all. They run on several threads at once.
class PosixCalls {
 public:
  virtual ~PosixCalls() = default;
  virtual ssize_t pread(int fd, void* data, size_t bytes, off_t offset) { return ::pread(fd, data, bytes, offset); }
  virtual ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) { return ::pwrite(fd, data, bytes, offset); }
  virtual int fsync(int fd) { return ::fsync(fd); }
  virtual int close(int fd) { return ::close(fd); }
  virtual int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) {
    return ::linkat(from_directory, from, to_directory, to, flags);
  }
};

}  // namespace holdfast::backend
