// The door for bulk bytes between ranks: a grouped send/receive of memory spans.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/ids.h"
#include "impl/core/memory.h"
#include "impl/port/clock.h"

namespace holdfast::port {

struct Transfer {
  Rank peer;
  ByteSpan bytes;  ///< read by a send, filled by a receive
  MemoryKind kind = MemoryKind::host;
};

class DataPlane {
 public:
  virtual ~DataPlane() = default;
  /// The kind of memory that exchange moves without a detour; it may refuse the other with unsupported.
  virtual MemoryKind memory() const { return MemoryKind::host; }
  /// Sends and receives as one group; returns when all of it is done. Every rank of the exchange calls it with the same name and sequence,
  /// and each send meets a receive of equal size (the k-th from a to b meets the k-th); a mismatch is invalid_argument on both sides.
  /// Errors: peer_lost (or its plane was aborted), timeout, aborted, invalid_argument, unsupported; on an error received bytes are unspecified.
  virtual Status exchange(std::string_view name, std::uint64_t sequence, std::span<const Transfer> sends,
                          std::span<const Transfer> receives, Deadline deadline) = 0;
  /// Ends every exchange of this rank, now and later, with `aborted`.
  virtual void abort() = 0;
};

}  // namespace holdfast::port
