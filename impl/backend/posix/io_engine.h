// How the bytes of a PosixStorage travel: by io_uring or by the workers' own calls, past the page cache (O_DIRECT) or through it. Chosen
// once a root, by trying.
//
// Each call has a lane of its own while it runs: a queue and bounce memory. A ring shared by all calls would need somebody to hand
// completions round, and one device that hangs could stop that somebody, and with it the rest. So a stuck call keeps one ring and its
// worker, nothing else, and the code that waits is the code that owns the buffers: they live until the kernel has given every request back.
// A lane is not a thread's but is lent from a pool, because workers come and go with abandoned calls.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "impl/backend/posix/io_cut.h"
#include "impl/backend/posix/io_queue.h"
#include "impl/core/bytes.h"
#include "impl/core/error.h"

namespace holdfast::backend {

enum class QueueChoice : std::uint8_t { automatic, io_uring, threads };
enum class CacheChoice : std::uint8_t { automatic, direct, buffered };

struct IoEngineOptions {
  QueueChoice queue = QueueChoice::automatic;
  CacheChoice cache = CacheChoice::automatic;
};

/// Requests that are under way for one call, and aligned memory for those that need it.
class IoLane {
 public:
  explicit IoLane(std::unique_ptr<IoQueue> queue) : queue_(std::move(queue)) {}
  IoQueue& queue() { return *queue_; }
  CutRules rules(std::uint64_t alignment) const;
  /// rules().bounce_bytes for each request of the queue's depth, on huge pages where there are; made at the first call. Errors:
  /// out_of_memory.
  Result<ByteSpan> bounce();

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<IoQueue> queue_;
  std::unique_ptr<std::byte, Free> bounce_;
};

/// May be used from any thread.
class IoEngine : public std::enable_shared_from_this<IoEngine> {
 public:
  /// Multiples of it go past the page cache: pages, so that the two ways never meet in one (io_cut.h), and no device asks for more.
  static constexpr std::uint32_t direct_alignment = 4096;

  /// Tries a ring, and an unnamed file with O_DIRECT in the directory `root`, and takes what works. Where such a file cannot be made (a
  /// read-only root, a full disk), O_DIRECT is taken and each file decides. Errors: unsupported, with the reason, when what `options` ask
  /// for does not work.
  static Result<std::shared_ptr<IoEngine>> choose(int root, IoEngineOptions options, std::shared_ptr<PosixCalls> calls);

  /// "io_uring + O_DIRECT", or what it is instead and why: "threads + page cache (io_uring: Operation not permitted; O_DIRECT: Invalid
  /// argument)".
  std::string text() const;
  bool direct() const { return direct_; }
  bool direct_required() const { return options_.cache == CacheChoice::direct; }
  /// Without io_uring when no ring can be set up any more; text() then says so.
  std::shared_ptr<IoLane> lane();
  /// Adds to the reasons of text(), once.
  void note(const std::string& reason);

 private:
  IoEngine(IoEngineOptions options, std::shared_ptr<PosixCalls> calls) : options_(options), calls_(std::move(calls)) {}
  Status choose_queue();
  Status choose_cache(int root);
  Status try_direct(int root);

  const IoEngineOptions options_;
  const std::shared_ptr<PosixCalls> calls_;
  bool rings_ = false;
  bool direct_ = false;
  mutable std::mutex mutex_;
  std::vector<std::string> reasons_;
  std::vector<std::unique_ptr<IoLane>> idle_;
};

}  // namespace holdfast::backend
