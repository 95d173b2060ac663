#include "impl/backend/posix/io_engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "impl/backend/posix/posix_error.h"
#include "impl/backend/posix/transfer.h"
#include "impl/backend/posix/uring_queue.h"
#include "impl/core/mark.h"

namespace holdfast::backend {
namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
constexpr std::size_t lane_bounce_bytes = std::size_t{16} << 20;
constexpr std::size_t idle_lanes_max = 8;
constexpr std::size_t reasons_max = 4;  // the first ones tell enough
constexpr port::Duration probe_timeout{10'000'000'000};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

void IoLane::Free::operator()(std::byte* memory) const { std::free(memory); }

CutRules IoLane::rules(std::uint64_t alignment) const {
  return {.alignment = alignment,
          .request_bytes = queue_->request_bytes(),
          .bounce_bytes = lane_bounce_bytes / queue_->depth(),
          .bounce_minimum = std::uint64_t{64} << 10};
}

Result<ByteSpan> IoLane::bounce() {
  if (!bounce_) {
    bounce_.reset(static_cast<std::byte*>(std::aligned_alloc(huge_page_bytes, lane_bounce_bytes)));
    if (!bounce_) return fail(ErrorCode::out_of_memory, "no {} bytes for I/O that is not aligned", lane_bounce_bytes);
    static_cast<void>(::madvise(bounce_.get(), lane_bounce_bytes, MADV_HUGEPAGE));  // as good without, and slower
  }
  return ByteSpan(bounce_.get(), lane_bounce_bytes);
}

Result<std::shared_ptr<IoEngine>> IoEngine::choose(int root, IoEngineOptions options, std::shared_ptr<PosixCalls> calls) {
  std::shared_ptr<IoEngine> engine(new IoEngine(options, std::move(calls)));
  TRY(engine->choose_queue());
  TRY(engine->choose_cache(root));
  return engine;
}

Status IoEngine::choose_queue() {
  if (options_.queue == QueueChoice::threads) return {};
  Result<std::unique_ptr<IoQueue>> queue = UringQueue::open(calls_);
  if (queue) {
    rings_ = true;
    idle_.push_back(std::make_unique<IoLane>(*std::move(queue)));
    return {};
  }
  if (options_.queue == QueueChoice::io_uring) return fail(ErrorCode::unsupported, "{}", queue.error().message);
  MARK("posix.without_ring");
  note(queue.error().message);
  return {};
}

Status IoEngine::choose_cache(int root) {
  if (options_.cache == CacheChoice::buffered) return {};
  direct_ = true;
  const Status tried = try_direct(root);
  if (tried) return {};
  if (tried.error().code == ErrorCode::unsupported) {
    if (options_.cache == CacheChoice::direct) return tried;
    MARK("posix.without_direct");
    direct_ = false;
  }
  note(tried.error().message);
  return {};
}

/// Errors: unsupported when O_DIRECT does not work; another when that cannot be told here.
Status IoEngine::try_direct(int root) {
  constexpr int unnamed = O_TMPFILE | O_RDWR | O_CLOEXEC;
  const Descriptor plain(uninterrupted([&] { return calls_->openat(root, ".", unnamed, 0600); }));
  if (plain.get() < 0) return fail(ErrorCode::io_error, "O_DIRECT could not be tried: {}", errno_text(errno));
  const Descriptor direct(uninterrupted([&] { return calls_->openat(root, ".", unnamed | O_DIRECT, 0600); }));
  if (direct.get() < 0) return fail(ErrorCode::unsupported, "O_DIRECT: {}", errno_text(errno));

  const std::shared_ptr<IoLane> lane_held = lane();
  const ByteSpan memory = TRY(lane_held->bounce()).first(2 * direct_alignment);
  std::ranges::fill(memory.first(direct_alignment), std::byte{0x5A});
  for (const IoKind kind : {IoKind::write, IoKind::read}) {
    TransferOptions options{.kind = kind, .path = "a file of no name", .buffered_fd = -1, .direct_fd = direct.get()};
    options.alignment = direct_alignment;
    options.at_once = 1;
    options.deadline.at = port::TimePoint(std::chrono::steady_clock::now().time_since_epoch()) + probe_timeout;
    const IoPart part{IoWay::direct, {0, memory.data() + (kind == IoKind::write ? 0 : direct_alignment), direct_alignment}};
    Transfer transfer(lane_held->queue(), std::move(options));
    const Status done = transfer.run({&part, 1});
    if (transfer.direct_refused()) return fail(ErrorCode::unsupported, "O_DIRECT: {}", direct_refused_text);
    // A full disk can still be read.
    if (!done && done.error().code == ErrorCode::no_space) return fail(within(done.error(), "O_DIRECT could not be tried"));
    if (!done) return fail(ErrorCode::unsupported, "O_DIRECT: {}", done.error().message);
  }
  if (std::memcmp(memory.data(), memory.data() + direct_alignment, direct_alignment) != 0) {
    return fail(ErrorCode::unsupported, "O_DIRECT: what was written does not read back");
  }
  return {};
}

std::string IoEngine::text() const {
  const std::scoped_lock lock(mutex_);
  const std::string what = fmt::format("{} + {}", rings_ ? "io_uring" : "threads", direct_ ? "O_DIRECT" : "page cache");
  return reasons_.empty() ? what : fmt::format("{} ({})", what, fmt::join(reasons_, "; "));
}

void IoEngine::note(const std::string& reason) {
  const std::scoped_lock lock(mutex_);
  if (reasons_.size() < reasons_max && std::ranges::find(reasons_, reason) == reasons_.end()) reasons_.push_back(reason);
}

std::shared_ptr<IoLane> IoEngine::lane() {
  std::unique_ptr<IoLane> lane;
  {
    const std::scoped_lock lock(mutex_);
    if (!idle_.empty()) {
      lane = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!lane && rings_) {
    Result<std::unique_ptr<IoQueue>> queue = UringQueue::open(calls_);
    if (queue) lane = std::make_unique<IoLane>(*std::move(queue));
    if (!queue) note(fmt::format("some calls without: {}", queue.error().message));
  }
  const bool pooled = lane != nullptr || !rings_;
  if (!lane) lane = std::make_unique<IoLane>(std::make_unique<CallQueue>(calls_));
  return {lane.release(), [self = shared_from_this(), pooled](IoLane* used) {
            std::unique_ptr<IoLane> owned(used);
            const std::scoped_lock lock(self->mutex_);
            if (pooled && owned->queue().usable() && self->idle_.size() < idle_lanes_max) self->idle_.push_back(std::move(owned));
          }};
}

}  // namespace holdfast::backend
