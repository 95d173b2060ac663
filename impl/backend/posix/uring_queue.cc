#include "impl/backend/posix/uring_queue.h"

#include <cerrno>
#include <chrono>
#include <thread>

#include "impl/backend/posix/posix_error.h"
#include "impl/core/check.h"
#include "impl/core/mark.h"

namespace holdfast::backend {
namespace {

constexpr std::chrono::milliseconds pause{1};

struct ProbeFree {
  void operator()(io_uring_probe* probe) const { io_uring_free_probe(probe); }
};

}  // namespace

Result<std::unique_ptr<IoQueue>> UringQueue::open(std::shared_ptr<PosixCalls> calls) {
  std::unique_ptr<UringQueue> queue(new UringQueue(std::move(calls)));
  const int made = queue->calls_->ring_init(queue_depth, &queue->ring_);
  if (made < 0) return system_error(-made, "io_uring");
  queue->open_ = true;
  TRY(queue->try_out());
  return queue;
}

UringQueue::~UringQueue() {
  if (open_) io_uring_queue_exit(&ring_);
}

Status UringQueue::try_out() {
  const std::unique_ptr<io_uring_probe, ProbeFree> probe(io_uring_get_probe_ring(&ring_));
  if (!probe || !io_uring_opcode_supported(probe.get(), IORING_OP_READ) || !io_uring_opcode_supported(probe.get(), IORING_OP_WRITE)) {
    return fail(ErrorCode::io_error, "io_uring: the kernel is too old, it has no plain reads and writes");
  }
  io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
  io_uring_prep_nop(entry);
  io_uring_sqe_set_data64(entry, 0);
  unsent_.push_back(0);
  const std::int64_t result = wait().result;
  if (result < 0) return system_error(static_cast<int>(-result), "io_uring");
  return {};
}

void UringQueue::start(const IoRequest& request, std::size_t tag) {
  requests_.at(tag) = request;
  unsent_.push_back(tag);
  if (refused_ != 0) return;
  io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
  CHECK(entry, "more than {} requests under way", queue_depth);
  const auto bytes = static_cast<unsigned>(request.bytes);
  if (request.kind == IoKind::read) {
    io_uring_prep_read(entry, request.fd, request.memory, bytes, request.offset);
  } else {
    io_uring_prep_write(entry, request.fd, request.memory, bytes, request.offset);
  }
  io_uring_sqe_set_data64(entry, tag);
}

IoCompletion UringQueue::wait() {
  while (true) {
    io_uring_cqe* entry = nullptr;
    if (io_uring_peek_cqe(&ring_, &entry) == 0) {
      const auto tag = static_cast<std::size_t>(io_uring_cqe_get_data64(entry));
      const int result = entry->res;
      io_uring_cqe_seen(&ring_, entry);
      return {tag, calls_->ring_result(requests_[tag], result)};
    }
    if (refused_ != 0 && !unsent_.empty()) {
      const std::size_t tag = unsent_.front();
      unsent_.pop_front();
      return {tag, -refused_};
    }
    if (refused_ != 0) {
      std::this_thread::sleep_for(pause);  // for what the kernel took before it refused: only its memory can be looked at
      continue;
    }
    const int sent = calls_->ring_submit_and_wait(&ring_);
    while (unsent_.size() > io_uring_sq_ready(&ring_)) unsent_.pop_front();
    if (sent == -EAGAIN || sent == -EBUSY) {
      std::this_thread::sleep_for(pause);  // the kernel is out of memory for requests; some come back in a moment
    } else if (sent < 0 && sent != -EINTR) {
      MARK("posix.ring_refused_midway");
      refused_ = -sent;  // what was not taken never runs: it is not offered again
    }
  }
}

}  // namespace holdfast::backend
