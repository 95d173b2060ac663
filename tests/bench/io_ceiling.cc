// Tried on a virtual disk with ext4, 2 GiB, two cores with 14 runnable threads, medians of 7, GB/s written and read: 4 MiB at depth 8: 3.2
// and 3.6; at 16: 3.8 and 3.8; at 64: 4.2 and 3.9; 16 MiB at 8: 4.2 and 3.9; 64 MiB at 2: 4.1 and 3.9; at 4: 4.3 and 4.0. On the idle
// machine all of them gave 4.3 and 3.8. Registered buffers: as without. Memory on small pages: at most 3.0 and 2.7, sometimes 2.0 and 1.2.
// Blocks not reserved: 4.1 and four times the CPU time. fio 3.33 (io_uring, huge pages, reserved, fsync) beside it, best of its settings:
// 4.4 and 4.1.
#include "tests/bench/io_ceiling.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "impl/core/check.h"

namespace holdfast::bench {
namespace {

constexpr std::uint64_t request_bytes = std::uint64_t{64} << 20;
constexpr unsigned depth = 4;
constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

tl::unexpected<Error> refused(int number, std::string_view what) {
  return fail(ErrorCode::io_error, "I/O ceiling: {}: {}", what, ::strerrordesc_np(number));
}

double seconds(const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6; }

/// One file, all requests that it takes `depth` at a time; a write ends with fsync.
class Mover {
 public:
  Mover(int fd, std::uint64_t bytes, std::byte* memory, bool write) : fd_(fd), bytes_(bytes), memory_(memory), write_(write) {}
  ~Mover() {
    if (open_) io_uring_queue_exit(&ring_);
  }
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  Status run() {
    if (const int made = io_uring_queue_init(depth, &ring_, 0); made < 0) return refused(-made, "io_uring");
    open_ = true;
    std::uint64_t under_way = 0;
    int failed = 0;
    while (true) {
      for (; begun_ < bytes_ && under_way < depth && failed == 0; ++under_way) begin();
      if (under_way == 0) break;
      if (const int sent = io_uring_submit_and_wait(&ring_, 1); sent < 0 && sent != -EINTR) return refused(-sent, "io_uring");
      for (io_uring_cqe* entry = nullptr; io_uring_peek_cqe(&ring_, &entry) == 0; --under_way) {
        if (entry->res != static_cast<int>(io_uring_cqe_get_data64(entry))) failed = entry->res < 0 ? -entry->res : EIO;
        io_uring_cqe_seen(&ring_, entry);
      }
    }
    if (failed != 0) return refused(failed, write_ ? "write" : "read");
    if (write_ && ::fsync(fd_) != 0) return refused(errno, "fsync");
    return {};
  }

 private:
  void begin() {
    const auto bytes = static_cast<unsigned>(std::min(request_bytes, bytes_ - begun_));
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    write_ ? io_uring_prep_write(entry, fd_, memory_, bytes, begun_) : io_uring_prep_read(entry, fd_, memory_, bytes, begun_);
    io_uring_sqe_set_data64(entry, bytes);
    begun_ += bytes;
  }

  const int fd_;
  const std::uint64_t bytes_;
  std::byte* const memory_;
  const bool write_;
  std::uint64_t begun_ = 0;
  io_uring ring_{};
  bool open_ = false;
};

}  // namespace

ProcessTime::ProcessTime() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  wall_ = static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  cpu_ = seconds(used.ru_utime) + seconds(used.ru_stime);
}

Rate ProcessTime::rate(std::uint64_t bytes) const {
  const ProcessTime now;
  const double gb = static_cast<double>(bytes) * 1e-9;
  return {gb / (now.wall_ - wall_), (now.cpu_ - cpu_) / gb};
}

Result<std::unique_ptr<IoCeiling>> IoCeiling::make(const std::string& folder, std::uint64_t bytes, int files) {
  CHECK(files >= 1 && bytes > 0 && bytes % (4096u * static_cast<unsigned>(files)) == 0, "{} bytes in {} files", bytes, files);
  std::unique_ptr<IoCeiling> ceiling(new IoCeiling(folder, bytes / static_cast<unsigned>(files)));
  for (int file = 0; file < files; ++file) ceiling->paths_.push_back(fmt::format("{}/io-ceiling-{}-{}", folder, ::getpid(), file));
  ceiling->memory_.reset(static_cast<std::byte*>(std::aligned_alloc(huge_page_bytes, request_bytes)));
  if (!ceiling->memory_) return fail(ErrorCode::out_of_memory, "I/O ceiling: {} bytes", request_bytes);
  static_cast<void>(::madvise(ceiling->memory_.get(), request_bytes, MADV_HUGEPAGE));
  std::uint64_t noise = 88172645463325252;  // zeros may be dealt with in other ways
  for (std::size_t at = 0; at < request_bytes; at += sizeof noise) {
    noise ^= noise << 13, noise ^= noise >> 7, noise ^= noise << 17;
    std::memcpy(ceiling->memory_.get() + at, &noise, sizeof noise);
  }
  return ceiling;
}

void IoCeiling::Free::operator()(std::byte* memory) const { std::free(memory); }

IoCeiling::~IoCeiling() { static_cast<void>(remove_files()); }

/// Gone from the device too: what it has to discard is discarded before the next measurement.
Status IoCeiling::remove_files() {
  close_files();
  for (const std::string& path : paths_) ::unlink(path.c_str());
  const int folder = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return refused(errno, folder_);
  const int number = ::fsync(folder) == 0 ? 0 : errno;
  ::close(folder);
  if (number != 0) return refused(number, folder_);
  return {};
}

void IoCeiling::close_files() {
  for (const int fd : fds_) ::close(fd);
  fds_.clear();
}

Status IoCeiling::open_files(int flags) {
  close_files();
  for (const std::string& path : paths_) {
    const int fd = ::open(path.c_str(), flags | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0) return refused(errno, path);
    fds_.push_back(fd);
  }
  return {};
}

/// A thread and a ring for each file: measured, with two files and all requests on one ring: 4 to 8 % less.
Result<Rate> IoCeiling::move_all(bool write) {
  std::vector<Status> results(fds_.size());
  const ProcessTime begin;
  std::vector<std::thread> threads;
  for (std::size_t file = 0; file < fds_.size(); ++file) {
    threads.emplace_back([&, file] { results[file] = Mover(fds_[file], bytes_a_file_, memory_.get(), write).run(); });
  }
  for (std::thread& thread : threads) thread.join();
  const Rate rate = begin.rate(bytes_a_file_ * fds_.size());
  for (const Status& result : results) TRY(result);
  return rate;
}

Result<Rate> IoCeiling::write() {
  TRY(remove_files());
  TRY(open_files(O_RDWR | O_CREAT | O_EXCL));
  for (const int fd : fds_) {
    if (const int number = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes_a_file_)); number != 0) return refused(number, "reserve");
  }
  return move_all(true);
}

Result<Rate> IoCeiling::read() {
  TRY(open_files(O_RDONLY));
  return move_all(false);
}

}  // namespace holdfast::bench
