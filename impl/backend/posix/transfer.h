// One read or write of PosixStorage under way: its parts, as many at a time as the queue takes, until each has moved whole.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "impl/backend/posix/io_cut.h"
#include "impl/backend/posix/io_queue.h"
#include "impl/core/bytes.h"
#include "impl/port/clock.h"

namespace holdfast::backend {

/// What Transfer::direct_refused() means, for messages.
inline constexpr std::string_view direct_refused_text = "refused when it was used";

struct TransferOptions {
  IoKind kind = IoKind::read;
  std::string path;                ///< for the errors
  int buffered_fd = -1;            ///< through the page cache
  int direct_fd = -1;              ///< past it; used by direct and bounced parts
  std::uint64_t alignment = 1;     ///< of what goes to direct_fd
  std::uint64_t bounce_bytes = 0;  ///< of one request
  ByteSpan bounce{};               ///< bounce_bytes for each of the queue's depth; may be empty where no part bounces
  std::size_t at_once = 0;         ///< requests at most; no more than the queue's depth
  port::Deadline deadline{};       ///< SteadyClock's: from then on nothing new is handed to the kernel
};

/// Short, interrupted and postponed requests are continued. What a direct request leaves off the alignment goes on through the page cache,
/// and so does all of one that the file system refuses (EINVAL, EOPNOTSUPP), though it let the file be opened so.
class Transfer {
 public:
  Transfer(IoQueue& queue, TransferOptions options);
  /// Returns when the kernel is done with all memory, whatever happened. Errors, of the first part that has one: `write "x" at 4096: ` and
  /// the system's text; corrupt for a read past the end; timeout.
  Status run(std::span<const IoPart> parts);
  /// Did the file system refuse a direct request?
  bool direct_refused() const { return direct_refused_; }

 private:
  struct Slot {
    std::size_t part = 0;
    IoWay way = IoWay::buffered;
    std::uint64_t done = 0;
    IoRequest request;
  };
  void begin(std::size_t slot);
  Result<bool> ended(Slot& slot, std::int64_t result);
  Result<bool> failed(Slot& slot, int number);
  std::uint64_t moved(const Slot& slot, std::uint64_t bytes) const;
  bool late() const;
  std::string_view verb() const { return options_.kind == IoKind::read ? "read" : "write"; }

  IoQueue& queue_;
  const TransferOptions options_;
  std::span<const IoPart> parts_;
  std::vector<Slot> slots_;
  bool direct_refused_ = false;
};

}  // namespace holdfast::backend
